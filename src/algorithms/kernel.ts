import type { Algorithm, Step } from './algorithm.ts'
import type { Limit } from './limit.ts'

/** What one charge would get or got. `remaining` counts the charge as taken when it is allowed. */
export interface Verdict {
  allowed: boolean
  remaining: number
  retryAfterMs: number
  resetMs: number
}

/**
 * An algorithm over cells of a Float64Array: the one arithmetic of the project, used in place by the memory store
 * and, through {@link toAlgorithm}, as a pure step by everyone else. Cell 0 is always the time of the last charge.
 * All-zero cells are a key never seen.
 */
export interface Kernel {
  readonly name: string
  /** Cells a key takes; 0 where each key owns an array that grows. */
  readonly width: number
  /** Prepares zeroed cells for a key's first charge. */
  begin?(cells: Float64Array, at: number, nowMs: number, limit: Limit): void
  /** Looks, changes nothing; true when the cost fits. */
  probe(cells: Float64Array, at: number, nowMs: number, cost: number, limit: Limit, out: Verdict): boolean
  /** Takes a cost that was just probed and fits. */
  take(cells: Float64Array, at: number, nowMs: number, cost: number, limit: Limit): void
  /** Gives back; never above whole. */
  refund(cells: Float64Array, at: number, nowMs: number, cost: number, limit: Limit): void
  /** Units used up at `nowMs`, rounded up to the limit's grid. */
  spent(cells: Float64Array, at: number, nowMs: number, limit: Limit): number
  /** Sets zeroed cells to `spent` units used at `nowMs`: how state is carried to a changed limit. */
  seed(cells: Float64Array, at: number, nowMs: number, spent: number, limit: Limit): void
  /** The time from which the cells equal a key never seen. */
  wholeAt(cells: Float64Array, at: number, limit: Limit): number
  /** Only with width 0: the array a key starts with, and the same array or a larger copy with room for one entry more. */
  room?(cells: Float64Array | undefined, limit: Limit): Float64Array
}

/** The pure step of a kernel: what other stores, models and tests call. State is the cells as plain numbers. */
export function toAlgorithm(kernel: Kernel): Algorithm<Limit, readonly number[]> {
  const verdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
  return {
    name: kernel.name,
    step(state, nowMs, cost, limit): Step<readonly number[]> {
      let cells = state === undefined ? undefined : Float64Array.from(state)
      if (kernel.room) cells = kernel.room(cells, limit)
      cells ??= new Float64Array(kernel.width)
      if (state === undefined) kernel.begin?.(cells, 0, nowMs, limit)
      const allowed = kernel.probe(cells, 0, nowMs, cost, limit, verdict)
      if (allowed) kernel.take(cells, 0, nowMs, cost, limit)
      return {
        state: allowed || state === undefined ? Array.from(cells) : state,
        allowed,
        remaining: verdict.remaining,
        retryAfterMs: verdict.retryAfterMs,
        resetMs: verdict.resetMs,
        expireInMs: Math.max(0, kernel.wholeAt(cells, 0, limit) - nowMs),
      }
    },
  }
}
