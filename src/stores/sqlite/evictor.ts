import type { Limit, Verdict } from '../../algorithms/limit.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { OVERFLOW_KEY, type RuleState, type StateEntry } from './rule-state.ts'
import type { KeptKey } from './statements.ts'

/** Keeps a rule from having more keys than it may, and counts what that costs. */
export class Evictor {
  /** Keys that lost their state before they were whole. */
  evictions = 0
  /** Decisions that had to share the overflow counter. */
  overflows = 0
  readonly #mostKeys: number
  readonly #told: (rule: string, keys: number) => void
  /** Where each full rule was looked at last. */
  readonly #hands = new Map<string, KeptKey>()

  /** `told` hears of each eviction and overflow. */
  constructor(mostKeys: number, told: (rule: string, keys: number) => void) {
    this.#mostKeys = mostKeys
    this.#told = told
  }

  /** False where a new key has to share the overflow counter: all keys that were looked at refuse. */
  makeRoom(ruleState: RuleState, limit: Limit, nowMs: number): boolean {
    if (ruleState.keys < this.#mostKeysOf(limit)) return true
    const victim = this.#findVictim(ruleState, limit, nowMs)
    if (victim === undefined) this.overflows++
    else {
      ruleState.remove(victim.key)
      if (!victim.isWhole) this.evictions++
    }
    if (victim?.isWhole !== true) this.#told(ruleState.name, ruleState.keys)
    return victim !== undefined
  }

  /** An expired key, else the one nearest to being whole of those that do not refuse; the next ones in the file. */
  #findVictim(
    ruleState: RuleState,
    limit: Limit,
    nowMs: number,
  ): { key: KeptKey; isWhole: boolean } | undefined {
    if (this.#hands.size >= MAX_SIZES.rules) this.#hands.clear()
    const hand = this.#hands.get(ruleState.name) ?? OVERFLOW_KEY
    let rows = ruleState.after(hand, MAX_SIZES.evictionProbe)
    if (rows.length < MAX_SIZES.evictionProbe)
      rows = [...rows, ...ruleState.after(OVERFLOW_KEY, MAX_SIZES.evictionProbe)]
    let best: KeptKey | undefined
    let bestWholeAtMs = Infinity
    for (const row of rows) {
      if (ruleState.isInUse(row.key)) continue
      const entry = ruleState.open('', row, limit, nowMs)
      const wholeAtMs = limit.kernel.wholeAt(entry.cells, 0, limit)
      if (wholeAtMs <= nowMs) {
        this.#hands.set(ruleState.name, row.key)
        return { key: row.key, isWhole: true }
      }
      if (wholeAtMs >= bestWholeAtMs || refuses(entry, nowMs)) continue
      best = row.key
      bestWholeAtMs = wholeAtMs
    }
    const last = rows.at(-1)
    if (last !== undefined) this.#hands.set(ruleState.name, last.key)
    return best === undefined ? undefined : { key: best, isWhole: false }
  }

  /** Fewer where a key may be large: a sliding log's is as large as its limit. */
  #mostKeysOf(limit: Limit): number {
    const entries = limit.kernel.entries?.(limit)
    if (entries === undefined) return this.#mostKeys
    return Math.min(this.#mostKeys, Math.max(1, Math.floor(MAX_SIZES.logEntriesPerRule / entries)))
  }
}

const look: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }

/** Whether a key refuses now, what it refused last or a single unit: then it must not be forgotten. */
function refuses({ cells, limit, refusedUntilMs }: StateEntry, nowMs: number): boolean {
  return refusedUntilMs > nowMs || !limit.kernel.probe(cells, 0, nowMs, limit.scale, limit, look)
}
