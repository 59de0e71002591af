import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { parseDuration } from '../core/units.ts'

/** Outcome of a message that cannot be held, or cannot be held any longer. */
export type HoldOverflowOutcome = 'drop' | 'reject' | 'disconnect'

export interface ThrottleOptions {
  /** Longest wait, as a duration; at most five minutes. */
  readonly upTo?: string | undefined
  readonly then?: 'drop' | 'disconnect' | undefined
}

const OPTIONS: KnownOptions<ThrottleOptions> = { upTo: true, then: true }

/** Longest wait of a message that a rule throttles, and the outcome after it. The guard's settings replace absent fields. */
export interface RuleHoldBounds {
  readonly upToMs?: number | undefined
  readonly then?: 'drop' | 'disconnect' | undefined
}

/** Compiles the options of `throttle`. Returns undefined if there are none. Throws PolicyError. */
export function compileHold(options: ThrottleOptions, path: string): RuleHoldBounds | undefined {
  checkOptionNames(options, OPTIONS, path)
  const { upTo, then } = options
  if (upTo === undefined && then === undefined) return undefined
  if (then !== undefined && then !== 'drop' && then !== 'disconnect')
    throw policyError(`${path}.then`, `"${String(then)}" is not one of them`, 'use one of drop, disconnect')
  const upToMs = upTo === undefined ? undefined : readHoldMs(upTo, `${path}.upTo`)
  return { upToMs, then }
}

/** Parses the longest time a rule may hold a message, in milliseconds. Throws PolicyError. */
export function readHoldMs(upTo: string, path: string): number {
  const ms = checkWithPathPrefix(path, () => parseDuration(upTo))
  if (ms <= MAX_SIZES.holdMs) return ms
  const message = `${JSON.stringify(upTo)} is longer than a message can be held`
  throw policyError(path, message, `write at most ${MAX_SIZES.holdMs / 60_000}m`)
}
