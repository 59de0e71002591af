import { createHash } from 'node:crypto'
import type { Limit } from '../../algorithms/limit.ts'
import { bursts, multiplyLimit, remakeLimit } from '../../algorithms/rescale-limit.ts'
import { PolicyError, policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { parseRate, quote, type Rate } from '../../core/units.ts'
import type { Added } from '../senders/sender-overrides.ts'
import { parseFactor } from './factor.ts'
import { withPrefix } from './key-scope.ts'
import type { Rule } from './rule.ts'

/** The effect of an override on limits: it lifts them, multiplies them, or gives them another rate. */
export type OverrideEffect =
  | { readonly kind: 'unlimited' }
  | { readonly kind: 'times'; readonly thousandths: number }
  | { readonly kind: 'rate'; readonly rate: Rate }

/** An override, compiled. */
export interface Override extends Added {
  readonly id: string
  /** Another for every override there was in this process. */
  readonly serial: number
  readonly expiresAtMs?: number | undefined
  readonly effect: OverrideEffect
  /** Names of the rules it is for; absent: all. */
  readonly rules?: ReadonlySet<string> | undefined
  /** Equal for overrides that make the same of the same rules. */
  readonly kind: string
}

/** Reads `unlimited`, `x5` or a rate as `100/s burst 200`. Throws PolicyError. */
export function parseOverrideEffect(text: string): OverrideEffect {
  if (typeof text === 'string' && text.trim().startsWith('x')) {
    return { kind: 'times', thousandths: parseFactor(text) }
  }
  const rate = parseRate(text)
  if (rate.count === Infinity) return { kind: 'unlimited' }
  if (rate.per !== undefined) {
    throw policyError(
      '',
      `"per ${rate.per}" stands in the limit`,
      'leave it out: the rule says what it counts by',
    )
  }
  return { kind: 'rate', rate }
}

/** Identifies the counters of an override: another for each time one is added, and the same on all nodes of a store. */
export function counterOf({ id, addedAtMs, sequence = 0 }: Pick<Override, 'id'> & Added): string {
  const digest = createHash('sha256').update(`${id}\n${addedAtMs}\n${sequence}`, 'utf16le')
  return digest.digest('base64url').slice(0, 22)
}

/**
 * Reports whether an override is for a rule: its list names the rule, and the rule can hold the rate. A calendar quota holds
 * rates per day, week, month or year only.
 */
export function concerns({ rules, effect }: Override, rule: Rule): boolean {
  return (rules === undefined || rules.has(rule.name)) && hasWindow(rule.limit, effect)
}

function hasWindow({ calendar }: Limit, effect: OverrideEffect): boolean {
  return calendar === undefined || effect.kind !== 'rate' || effect.rate.window !== undefined
}

/**
 * Returns a rule under an override, or undefined if it is lifted. It keeps its algorithm, scope and cost, begins whole, and
 * has counters of its own. Throws PolicyError if the numbers are too large.
 */
export function overrideRule(rule: Rule, override: Override): Rule | undefined {
  const { effect } = override
  if (effect.kind === 'unlimited') return undefined
  const limit = overrideLimit(rule.limit, effect)
  const apart: Rule = { ...rule, limit, keys: withPrefix(rule.keys, counterOf(override)), passed: 'override' }
  if (effect.kind === 'times') return apart
  // A rate that is given is meant as it is, whatever the load.
  const { scaled: _, ...plain } = apart
  return { ...plain, asWritten: true }
}

/**
 * Throws PolicyError if an override cannot do what its author asks of a rule. One that `isNamed` must fit in every way; one
 * for all rules leaves calendar quotas as they are where they cannot hold its rate, and gives its burst to token buckets only.
 */
export function checkOverride({ name, limit }: Rule, effect: OverrideEffect, isNamed: boolean): void {
  if (effect.kind === 'unlimited') return
  if (!hasWindow(limit, effect)) {
    if (!isNamed) return
    throw policyError(
      '',
      `rule ${quote(name)} is a quota of calendar windows`,
      'write N/day, N/week, N/month or N/year',
    )
  }
  if (isNamed && effect.kind === 'rate' && effect.rate.burst !== undefined && !bursts(limit)) {
    throw policyError('', `rule ${quote(name)} is a ${limit.algorithm}, which has no burst`, 'leave it out')
  }
  try {
    makeLimit(limit, effect, name)
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    const [problem] = error.problems
    throw policyError(
      '',
      `rule ${quote(name)}: ${problem!.message}`,
      isNamed ? 'give less' : 'give less, or name the rules it is for',
    )
  }
}

/** Limits made of a limit, by name: all plans then count by the same object, and convert nothing. */
const MADE = new WeakMap<Limit, Map<string, Limit>>()

/** Returns a limit under an override. Numbers are rounded down, to 1 at the least. Throws PolicyError. */
function overrideLimit(limit: Limit, effect: Exclude<OverrideEffect, { kind: 'unlimited' }>): Limit {
  const name = overrideName(limit, effect)
  const made = MADE.get(limit) ?? new Map<string, Limit>()
  const known = made.get(name)
  if (known !== undefined) return known
  const overridden = makeLimit(limit, effect, name)
  if (made.size >= MAX_SIZES.overriddenLimits) made.clear()
  MADE.set(limit, made.set(name, overridden))
  return overridden
}

/** The name under which a store counts a limit under an override. Overrides that say the same share it, not their keys. */
export function overrideName(
  { name }: Limit,
  effect: Exclude<OverrideEffect, { kind: 'unlimited' }>,
): string {
  if (effect.kind === 'times') return `override:x${effect.thousandths / 1000}:${name}`
  const { count, periodMs, burst, window } = effect.rate
  return `override:${count}/${window ?? `${periodMs}ms`}+${burst ?? count}:${name}`
}

function makeLimit(
  limit: Limit,
  effect: Exclude<OverrideEffect, { kind: 'unlimited' }>,
  name: string,
): Limit {
  if (effect.kind === 'times') return multiplyLimit(limit, effect.thousandths, { name, initial: undefined })
  const { count, periodMs, burst, window } = effect.rate
  const change = { name, count, periodMs, initial: undefined }
  if (limit.calendar !== undefined && window !== undefined) {
    const from = window === limit.calendar.unit ? limit.calendar.from : undefined
    return remakeLimit(limit, { ...change, calendar: { unit: window, zone: limit.calendar.zone, from } })
  }
  return remakeLimit(limit, bursts(limit) ? { ...change, burst } : change)
}
