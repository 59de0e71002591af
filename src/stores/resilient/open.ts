import { type Clock, systemClock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { Fallback, Store } from '../store.ts'
import { ResilientStore } from './resilient-store.ts'

/** Options of every store behind a network, for the time it is slow or out of reach. */
export interface ResilienceOptions {
  /** How long a decision may take before the fallback makes it, in milliseconds. Default: 250. */
  readonly timeoutMs?: number | undefined
  /** Who decides while the store is out of reach. Default: memory. */
  readonly fallback?: Fallback | undefined
  /** How many nodes share the store. */
  readonly nodes?: number | undefined
  readonly breaker?: BreakerWords | undefined
}

/** When a store is left alone, and for how long; `recovery: '60s'` is `recoveryMs: 60000`. */
export interface BreakerWords {
  readonly threshold?: number | undefined
  readonly recovery?: string | undefined
  readonly recoveryMs?: number | undefined
  readonly health?: string | undefined
  readonly healthEveryMs?: number | undefined
}

export const TIMEOUT_MS = 250
/**
 * Times the time limit of a decision that a store itself waits for an answer. A late answer is given back; whether a
 * charge without an answer was taken is not known.
 */
const HEARD_FOR = 4
/** The longest that opening waits for a server. */
const STARTING_MS = 1_000

/** How long a store behind a {@link ResilientStore} waits for an answer. */
export function heardMsOf(timeoutMs: number | undefined): number {
  return HEARD_FOR * (timeoutMs ?? TIMEOUT_MS)
}

/**
 * Puts a store behind a time limit, a circuit breaker and a fallback, and waits a second at most until it is ready: a
 * server that is down is no error.
 */
export async function openResilient(
  store: Store,
  options: ResilienceOptions & { readonly clock?: Clock | undefined; readonly logger?: Logger | undefined },
): Promise<ResilientStore> {
  const { timeoutMs = TIMEOUT_MS, fallback, nodes, clock = systemClock, logger } = options
  const { threshold, recoveryMs, healthEveryMs } = options.breaker ?? {}
  const resilient = new ResilientStore({
    ...{ store, timeoutMs, clock },
    ...(threshold === undefined ? {} : { threshold }),
    ...(recoveryMs === undefined ? {} : { recoveryMs }),
    ...(healthEveryMs === undefined ? {} : { healthEveryMs }),
    ...(fallback === undefined ? {} : { fallback }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(logger === undefined ? {} : { logger }),
  })
  await resilient.start(STARTING_MS)
  return resilient
}
