import type { Signal } from './signal-types.ts'

/** Minimum number of attempts for a rate of errors. */
const LEAST_OBSERVED = 10
const FULL_DEPTH = 1_000

/**
 * Signal of waiting messages, as in `queueDepth(() => guard.stats().held)`. `full` messages are a load of 100
 * %, 1000 by default.
 */
export function queueDepth(count: () => number | undefined, full: number = FULL_DEPTH): Signal {
  return { name: 'queue-depth', full, read: count }
}

/** Signal of a consumer's lag, in messages or the unit of `full`. */
export function consumerLag(lag: () => number | undefined, full: number): Signal {
  return { name: 'consumer-lag', full, read: lag }
}

/** A signal that counts reported attempts. */
export interface ErrorRate extends Signal {
  observe(ok: boolean): void
}

/** Signal of the share of failures since the last reading, 0 to 1. Undefined below ten attempts. */
export function errorRate(): ErrorRate {
  let failed = 0
  let total = 0
  return {
    name: 'error-rate',
    observe(ok) {
      total++
      if (!ok) failed++
    },
    read() {
      const share = total >= LEAST_OBSERVED ? failed / total : 0
      failed = 0
      total = 0
      return share
    },
  }
}
