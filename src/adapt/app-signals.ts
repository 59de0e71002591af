import type { Signal } from './signal.ts'

/** Fewer than this many in an interval are no rate. */
const LEAST_OBSERVED = 10
const FULL_DEPTH = 1_000

/** How many messages wait, as `queueDepth(() => guard.stats().held)`; `full` of them are a load of 100 %, by default 1000. */
export function queueDepth(count: () => number | undefined, full: number = FULL_DEPTH): Signal {
  return { name: 'queue-depth', full, read: count }
}

/** How far a consumer is behind, in messages or whatever `full` is counted in. */
export function consumerLag(lag: () => number | undefined, full: number): Signal {
  return { name: 'consumer-lag', full, read: lag }
}

/** A signal that is told of each attempt. */
export interface ErrorRate extends Signal {
  observe(ok: boolean): void
}

/** The share of failures since the last reading, 0 to 1; nothing where fewer than ten were observed. */
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
