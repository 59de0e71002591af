import { createLimit } from '../algorithms/create-limit.ts'
import type { Limit } from '../algorithms/limit.ts'
import { policyError } from '../errors.ts'
import { parseRate, type Rate } from '../units.ts'
import { parseFactor } from './factor.ts'
import type { Rule } from './limit.ts'
import { multiplyLimit } from './remake.ts'
import type { Added } from './standing.ts'

/** What an override makes of the limits it is for: nothing of them, a multiple, or another rate. */
export type Grant =
  | { readonly kind: 'unlimited' }
  | { readonly kind: 'times'; readonly thousandths: number }
  | { readonly kind: 'rate'; readonly rate: Rate }

/** An override as the chain goes by it. */
export interface Override extends Added {
  readonly id: string
  /** Another for every override there was in this process. */
  readonly serial: number
  readonly expiresAtMs?: number
  readonly grant: Grant
  /** Names of the rules it is for; absent: all. */
  readonly rules?: ReadonlySet<string>
}

/** Reads `unlimited`, `x5` or a rate as `100/s burst 200`. Throws PolicyError. */
export function parseGrant(text: string): Grant {
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

/** Whether an override is for a rule. */
export function concerns({ rules }: Override, rule: Rule): boolean {
  return rules === undefined || rules.has(rule.name)
}

/**
 * A rule under an override; undefined where it is lifted. It counts apart, under a name of its own in the store, and
 * begins whole. Numbers are rounded down, to 1 at the least. Throws PolicyError where they are too large.
 */
export function overrideRule(rule: Rule, grant: Grant): Rule | undefined {
  if (grant.kind === 'unlimited') return undefined
  if (grant.kind === 'times') {
    const name = `override:x${grant.thousandths / 1000}:${rule.limit.name}`
    return { ...rule, limit: multiplyLimit(rule.limit, grant.thousandths, name), passed: 'override' }
  }
  // A rate that is given is meant as it is, whatever the load.
  const { scaled: _, ...plain } = rule
  return { ...plain, limit: replace(rule.limit, grant.rate), passed: 'override', asWritten: true }
}

/** Keeps the algorithm where it can hold the rate: a calendar quota only what is per day, week, month or year. */
function replace(limit: Limit, { count, periodMs, burst, window }: Rate): Limit {
  const { calendar, custom } = limit
  const named = `override:${count}/${periodMs}ms`
  const fractional = limit.scale === 1000
  if (calendar !== undefined && window !== undefined) {
    const name = `${named}/${window}:${limit.name}`
    return createLimit({
      name,
      algorithm: 'quota',
      count,
      periodMs,
      fractional,
      calendar: { unit: window, zone: calendar.zone },
    })
  }
  const bursts = limit.algorithm === 'token-bucket' || custom !== undefined
  const keeps = calendar === undefined && (bursts || burst === undefined)
  const algorithm = keeps ? (custom ?? (limit.algorithm as 'token-bucket')) : 'token-bucket'
  return createLimit({
    ...{ name: `${named}+${burst ?? count}:${limit.name}`, algorithm, count, periodMs, fractional },
    ...(burst === undefined ? {} : { burst }),
  })
}
