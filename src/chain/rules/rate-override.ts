import { createHash } from 'node:crypto'
import type { Limit } from '../../algorithms/limit-types.ts'
import { hasBurst, multiplyLimit, remakeLimit } from '../../algorithms/multiply-limit.ts'
import { PolicyError, policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { parseRate, quote, type Rate } from '../../core/units.ts'
import type { Rule } from './create-limit-middleware.ts'
import { prefixKeyMaker } from './key-scope.ts'
import { parseFactor } from './parse-factor.ts'
import type { EntryAge } from './runtime-entry-order.ts'

/** Effect of an override: it lifts limits, multiplies them, or replaces their rate. */
export type OverrideEffect =
  | { readonly kind: 'unlimited' }
  | { readonly kind: 'times'; readonly thousandths: number }
  | { readonly kind: 'rate'; readonly rate: Rate }

/** A compiled override. */
export interface Override extends EntryAge {
  readonly id: string
  /** Unique in this process. */
  readonly serial: number
  readonly expiresAtMs?: number | undefined
  readonly effect: OverrideEffect
  /** Names of the rules that it applies to; absent: all. */
  readonly rules?: ReadonlySet<string> | undefined
  /** Equal for overrides with the same effect on the same rules. */
  readonly kind: string
}

/** Parses `unlimited`, `x5` or a rate such as `100/s burst 200`. Throws PolicyError. */
export function parseOverrideEffect(text: string): OverrideEffect {
  if (typeof text === 'string' && text.trim().startsWith('x')) {
    return { kind: 'times', thousandths: parseFactor(text) }
  }
  const rate = parseRate(text)
  if (rate.count === Infinity) return { kind: 'unlimited' }
  if (rate.per !== undefined) {
    throw policyError(
      '',
      `"per ${rate.per}" is part of the limit`,
      'leave it out: the rule says what it counts by',
    )
  }
  return { kind: 'rate', rate }
}

/** Returns the counter prefix of an override: unique each time one is added, and the same on all nodes of a store. */
export function overrideCounterPrefix({
  id,
  addedAtMs,
  sequence = 0,
}: Pick<Override, 'id'> & EntryAge): string {
  const digest = createHash('sha256').update(`${id}\n${addedAtMs}\n${sequence}`, 'utf16le')
  return digest.digest('base64url').slice(0, 22)
}

/**
 * Returns true if an override applies to a rule: its list names the rule and the rule supports the rate.
 * Calendar quotas support rates per day, week, month or year only.
 */
export function overrideAppliesToRule({ rules, effect }: Override, rule: Rule): boolean {
  return (rules === undefined || rules.has(rule.name)) && hasWindow(rule.limit, effect)
}

function hasWindow({ calendar }: Limit, effect: OverrideEffect): boolean {
  return calendar === undefined || effect.kind !== 'rate' || effect.rate.window !== undefined
}

/**
 * Returns a rule under an override, or undefined if it is lifted. It keeps its algorithm, scope and cost,
 * starts full, and has its own counters. Throws PolicyError if the numbers are too large.
 */
export function applyOverrideToRule(rule: Rule, override: Override): Rule | undefined {
  const { effect } = override
  if (effect.kind === 'unlimited') return undefined
  const limit = overrideLimit(rule.limit, effect)
  const overridden: Rule = {
    ...rule,
    limit,
    keys: prefixKeyMaker(rule.keys, overrideCounterPrefix(override)),
    passed: 'override',
  }
  if (effect.kind === 'times') return overridden
  // A replaced rate applies as written, regardless of load.
  const { scaled: _, ...plain } = overridden
  return { ...plain, asWritten: true }
}

/**
 * Throws PolicyError if an override cannot apply to a rule. If `isNamed`, it must apply completely. An
 * override of all rules skips calendar quotas that do not support its rate, and sets the burst of token
 * buckets only.
 */
export function checkOverrideForRule({ name, limit }: Rule, effect: OverrideEffect, isNamed: boolean): void {
  if (effect.kind === 'unlimited') return
  if (!hasWindow(limit, effect)) {
    if (!isNamed) return
    throw policyError(
      '',
      `rule ${quote(name)} is a quota of calendar windows`,
      'write N/day, N/week, N/month or N/year',
    )
  }
  if (isNamed && effect.kind === 'rate' && effect.rate.burst !== undefined && !hasBurst(limit)) {
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

/**
 * Overridden limits by original limit and name. Cached, so that all plans use the same object and state is
 * not converted.
 */
const MADE = new WeakMap<Limit, Map<string, Limit>>()

/** Returns a limit under an override. Numbers are rounded down, but are at least 1. Throws PolicyError. */
function overrideLimit(limit: Limit, effect: Exclude<OverrideEffect, { kind: 'unlimited' }>): Limit {
  const name = nameOverriddenLimit(limit, effect)
  const made = MADE.get(limit) ?? new Map<string, Limit>()
  const known = made.get(name)
  if (known !== undefined) return known
  const overridden = makeLimit(limit, effect, name)
  if (made.size >= MAX_SIZES.overriddenLimits) made.clear()
  MADE.set(limit, made.set(name, overridden))
  return overridden
}

/**
 * Returns the name under which a store counts an overridden limit. Overrides with the same effect share the
 * name, not the keys.
 */
export function nameOverriddenLimit(
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
  return remakeLimit(limit, hasBurst(limit) ? { ...change, burst } : change)
}
