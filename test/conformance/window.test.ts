import type { CustomAlgorithm } from '../../src/algorithms/custom-algorithm-types.ts'
import { algorithmConformance } from './algorithm-suite.ts'

/** Algorithm with windows that begin with the first charge; correct, with the shortest possible state. */
const window: CustomAlgorithm = {
  name: 'window',
  step(state, nowMs, cost, { capacity, periodMs }) {
    const [lastMs = nowMs, endMs = 0, held = 0] = state ?? []
    const at = Math.max(nowMs, lastMs)
    const used = at < endMs ? held : 0
    const nextEndMs = at < endMs ? endMs : at + periodMs
    const allowed = used + cost <= capacity
    const resetMs = used > 0 || (allowed && cost > 0) ? nextEndMs - at : 0
    return {
      state: resetMs > 0 ? [at, nextEndMs, used + cost] : [],
      allowed,
      remaining: Math.floor(capacity - used - (allowed ? cost : 0) + 1e-9),
      retryAfterMs: allowed ? 0 : cost > capacity ? Infinity : nextEndMs - at,
      resetMs,
      expireInMs: resetMs + at - nowMs,
    }
  },
}

algorithmConformance(window, {
  histories: 20,
  trials: [
    { count: 3, periodMs: 1000 },
    { count: 20, periodMs: 7, burst: 5 },
  ],
  mostPerPeriod: ({ capacity }) => 2 * capacity,
})
