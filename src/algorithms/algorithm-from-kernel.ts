import type { Algorithm, StepResult } from './custom-algorithm-types.ts'
import { type Kernel, type Limit, startsBelowFull, toGrains, type Verdict } from './limit-types.ts'

/** Returns the pure step of a kernel, for other stores, models and tests. State is the cells as plain numbers. */
export function toAlgorithm(kernel: Kernel): Algorithm<Limit, readonly number[]> {
  const verdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
  return {
    name: kernel.name,
    step(state, nowMs, cost, limit): StepResult<readonly number[]> {
      let cells = state
        ? Float64Array.from(state)
        : (kernel.growCells?.(undefined) ?? new Float64Array(kernel.width))
      if (state === undefined) kernel.initialize?.(cells, 0, nowMs, limit)
      const grains = toGrains(cost, limit)
      const allowed = kernel.probe(cells, 0, nowMs, grains, limit, verdict)
      if (allowed) {
        // Only the last probe knows how much room a charge needs.
        if (kernel.growCells) cells = kernel.growCells(cells)
        kernel.charge(cells, 0, nowMs, grains, limit)
      }
      return {
        state: allowed || state === undefined ? Array.from(cells) : state,
        allowed,
        remaining: verdict.remaining,
        retryAfterMs: verdict.retryAfterMs,
        resetMs: verdict.resetMs,
        expireInMs: startsBelowFull(limit) ? Infinity : Math.max(0, kernel.fullAtMs(cells, 0, limit) - nowMs),
      }
    },
  }
}
