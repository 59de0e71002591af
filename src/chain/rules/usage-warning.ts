import type { Limit } from '../../algorithms/limit-types.ts'
import { checkWithPathPrefix, policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { parsePercent } from '../../core/units.ts'
import type { Verdict } from '../../stores/store.ts'
import { type KeyMaker, keyWithoutPrefix } from './key-scope.ts'

/** Warning that a key has used a share of its limit. Nothing is refused yet. */
export interface LimitWarning {
  readonly kind: 'limit_near'
  readonly rule: string
  readonly key: string
  /** The share that was reached, such as 0.8. */
  readonly share: number
  /** Whole units: the capacity of the rule, the used and the remaining ones. */
  readonly limit: number
  readonly used: number
  readonly remaining: number
  /** Whole milliseconds until the key is full again. */
  readonly resetMs: number
}

/** Parses `[80%, 95%]` as shares, ascending and unique. Returns undefined if there are none. Throws PolicyError. */
export function compileUsageWarnings(warn: readonly string[] | undefined): readonly number[] | undefined {
  if (warn === undefined) return undefined
  if (!Array.isArray(warn)) throw policyError('warn', 'is not a list of percentages', 'write [80%, 95%]')
  const shares = warn.map((text, index) => checkWithPathPrefix(`warn[${index}]`, () => parsePercent(text)))
  return shares.length === 0 ? undefined : [...new Set(shares)].sort((a, b) => a - b)
}

/** A rule with `warn`. */
interface WarningRule {
  readonly name: string
  readonly limit: Limit
  readonly keys: KeyMaker
  /** Shares of the capacity, ascending. */
  readonly warn?: readonly number[] | undefined
}

/** Returns true if the lowest share of a rule with `warn` is used. */
export function hasReachedShare({ limit: { capacity }, warn }: WarningRule, remaining: number): boolean {
  return capacity - remaining >= warn![0]! * capacity
}

interface Warned {
  /** Number of shares already reported. */
  readonly shares: number
  readonly untilMs: number
}

/**
 * Emits one warning for each share, window and key. A window ends when the key would be full again. Bounded:
 * beyond the maximum, the oldest key may be reported again.
 */
export class UsageWarnings {
  readonly #emit: (warning: LimitWarning) => void
  readonly #warned = new Map<string, Warned>()

  constructor(emit: (warning: LimitWarning) => void) {
    this.#emit = emit
  }

  /** Records the verdict on an allowed message. `keyOf` is called only if a share is reached. */
  record(rule: WarningRule, verdict: Verdict, keyOf: () => string, nowMs: number): void {
    if (!hasReachedShare(rule, verdict.remaining)) return
    const { capacity } = rule.limit
    const used = capacity - verdict.remaining
    const shares = rule.warn!
    const key = keyOf()
    const name = `${rule.limit.name}\n${key}`
    const earlier = this.#warned.get(name)
    const reportedShares = earlier !== undefined && nowMs < earlier.untilMs ? earlier.shares : 0
    let reached = 0
    while (reached < shares.length && used >= shares[reached]! * capacity) reached++
    if (reached <= reportedShares) return
    this.#warned.delete(name)
    if (this.#warned.size >= MAX_SIZES.warnedKeys) this.#warned.delete(this.#warned.keys().next().value!)
    const untilMs = reportedShares > 0 ? earlier!.untilMs : nowMs + verdict.resetMs
    this.#warned.set(name, { shares: reached, untilMs })
    const { remaining, resetMs } = verdict
    for (const share of shares.slice(reportedShares, reached)) {
      this.#emit({
        kind: 'limit_near',
        rule: rule.name,
        key: keyWithoutPrefix(rule.keys, key),
        share,
        limit: capacity,
        used,
        remaining,
        resetMs,
      })
    }
  }
}
