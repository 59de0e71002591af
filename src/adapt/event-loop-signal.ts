import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Signal } from './signal.ts'

const RESOLUTION_MS = 20
/** A mean delay of the event loop that counts as a load of 100 %. */
const FULL_DELAY_MS = 100

/**
 * How busy this process is, 0 to 1: the share of time its event loop was not waiting, or its mean delay as a share of
 * 100 ms where that is more.
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
