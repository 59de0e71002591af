import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Signal } from './signal-types.ts'

const RESOLUTION_MS = 20
/** Mean event-loop delay that counts as a load of 100 %. */
const FULL_DELAY_MS = 100

/**
 * Signal of this process, 0 to 1: the share of time in which the event loop was busy, or its mean delay as a
 * share of 100 ms, whichever is higher.
 */
export function eventLoopSignal(): Signal {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delays.enable()
  let last = performance.eventLoopUtilization()
  return {
    name: 'event-loop',
    read() {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, last)
      last = now
      const delayMs = delays.count > 0 ? Math.max(0, delays.mean / 1e6 - RESOLUTION_MS) : 0
      delays.reset()
      return Math.min(1, Math.max(utilization, delayMs / FULL_DELAY_MS))
    },
    close() {
      delays.disable()
    },
  }
}
