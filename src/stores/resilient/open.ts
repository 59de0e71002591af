import { type Clock, systemClock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { Fallback, Store } from '../store.ts'
import { ResilientStore } from './resilient-store.ts'

/** Options of a store behind a network, for times when it is slow or unreachable. */
export interface ResilienceOptions {
  /** Longest duration of a decision before the fallback decides, in milliseconds. Default: 250. */
  readonly timeoutMs?: number | undefined
  /** Fallback that decides while the store is unreachable. Default: memory. */
  readonly fallback?: Fallback | undefined
  /** Number of nodes that share the store. */
  readonly nodes?: number | undefined
  readonly breaker?: BreakerSettings | undefined
}

/** Circuit breaker options; `recovery: '60s'` is `recoveryMs: 60000`. */
export interface BreakerSettings {
  readonly threshold?: number | undefined
  readonly recovery?: string | undefined
  readonly recoveryMs?: number | undefined
  readonly health?: string | undefined
  readonly healthEveryMs?: number | undefined
}

export const DEFAULT_DECISION_TIMEOUT_MS = 250
/**
 * Multiple of the decision timeout that a store waits for an answer. A late answer is refunded; without an answer it
 * is unknown if the charge was taken.
 */
const ANSWER_TIMEOUT_FACTOR = 4
/** Longest wait for a server when a store is opened. */
const START_TIMEOUT_MS = 1_000

/** Returns how long a store behind a {@link ResilientStore} waits for an answer. */
export function computeLateAnswerTimeoutMs(timeoutMs: number | undefined): number {
  return ANSWER_TIMEOUT_FACTOR * (timeoutMs ?? DEFAULT_DECISION_TIMEOUT_MS)
}

/**
 * Wraps a store with a timeout, a circuit breaker and a fallback. Waits at most one second until it is ready; a
 * server that is down is not an error.
 */
export async function openResilient(
  store: Store,
  options: ResilienceOptions & { readonly clock?: Clock | undefined; readonly logger?: Logger | undefined },
): Promise<ResilientStore> {
  const { timeoutMs = DEFAULT_DECISION_TIMEOUT_MS, fallback, nodes, clock = systemClock, logger } = options
  const { threshold, recoveryMs, healthEveryMs } = options.breaker ?? {}
  const resilient = new ResilientStore({
    store,
    timeoutMs,
    fallback,
    threshold,
    recoveryMs,
    healthEveryMs,
    nodes,
    clock,
    logger,
  })
  await resilient.start(START_TIMEOUT_MS)
  return resilient
}
