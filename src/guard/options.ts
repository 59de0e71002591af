import { policyError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { KnownOptions } from '../core/option-names.ts'

export interface GuardOptions {
  /** Most messages held for one sender, and for all. Default: 1,000 and 100,000. */
  readonly maxHeldPerSender?: number | undefined
  readonly maxHeldTotal?: number | undefined
  /** Most payload bytes held for one sender (a single larger message is still held), and for all. Default: 4 and 256 MiB. */
  readonly maxHeldBytesPerSender?: number | undefined
  readonly maxHeldBytesTotal?: number | undefined
  /** Longest time a message is held. Default: 300,000. */
  readonly maxHoldMs?: number | undefined
  /**
   * Longest wait for an answer before the fallback decides. Default: 1,000 more than the time limit of the gate's
   * store.
   */
  readonly decideTimeoutMs?: number | undefined
  /** Decision if custom middleware fails or is late. Default: allow. */
  readonly middlewareFallback?: 'allow' | 'deny' | undefined
  /** Outcome of a message that finds no room or would wait too long. Default: drop. */
  readonly overflow?: 'drop' | 'disconnect' | undefined
  /**
   * Messages that the guard holds: `throttle` alone, or `all`, which adds those that rules `queue` or keep as `latest`.
   * Other outcomes are enacted as decided. With `all`, messages must hold their payload. Default: throttle.
   */
  readonly holds?: 'throttle' | 'all' | undefined
  readonly logger?: Logger | undefined
}

export const GUARD_OPTIONS: KnownOptions<GuardOptions> = {
  maxHeldPerSender: true,
  maxHeldTotal: true,
  maxHeldBytesPerSender: true,
  maxHeldBytesTotal: true,
  maxHoldMs: true,
  decideTimeoutMs: true,
  middlewareFallback: true,
  overflow: true,
  holds: true,
  logger: true,
}

/** Remedies for former names of guard options. */
export const RENAMED_GUARD_OPTIONS = {
  fallback: 'write middlewareFallback; a store has a fallback of its own, see openStore',
}

/** Returns a number of the options. Throws PolicyError if it is not a whole number above 0. */
export function checkPositive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
}
