import type { Algorithm, Step } from './algorithm.ts'
import { type Limit, startsBelowFull, toGrains } from './limit.ts'

/** What one charge would get or got. `remaining` counts the charge as taken when it is allowed. */
export interface Verdict {
  allowed: boolean
  /** Whole units left. */
  remaining: number
  /** Whole milliseconds; 0 when allowed, Infinity when the cost can never pass. */
  retryAfterMs: number
  /** Whole milliseconds until the key is whole again. */
  resetMs: number
  /** Who answered in the store's place: limits of this process alone, or nobody who counts. Absent: the store. */
  fallback?: 'local' | 'nobody' | undefined
}

/**
 * An algorithm over cells of a Float64Array: the one arithmetic of the project, used in place by the memory store
 * and, through {@link toAlgorithm}, as a pure step by everyone else. Costs come in grains. Cell 0 is always the
 * time of the last charge; all-zero cells are a key never seen.
 */
export interface Kernel {
  readonly name: string
  /** Cells a key takes; 0 where each key owns an array that grows. */
  readonly width: number
  /** Prepares zeroed cells for a key's first charge, where zeros are not enough. */
  begin?(cells: Float64Array, at: number, nowMs: number, limit: Limit): void
  /** Looks and changes nothing; true when the cost fits. */
  probe(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit, out: Verdict): boolean
  /** Takes a cost that was just probed and fits. */
  take(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit): void
  /** Gives back; never above whole. */
  refund(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit): void
  /** Grains used up at `nowMs`, rounded up. */
  spent(cells: Float64Array, at: number, nowMs: number, limit: Limit): number
  /**
   * Turns cells of one limit into cells of another of this kernel, as of the moment the other came into force: what was
   * used is counted by the old limit up to that moment. Part of a step or a grain is rounded up.
   */
  carry(cells: Float64Array, at: number, sinceMs: number, old: Limit, next: Limit): void
  /** Sets zeroed cells to `grains` used at `nowMs`: how state is carried over to another algorithm. */
  seed(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit): void
  /** The time from which the cells equal a full key: also one never seen, unless the limit starts below full. */
  wholeAt(cells: Float64Array, at: number, limit: Limit): number
  /** Only with width 0: most entries, of two cells each, that a key may need. */
  entries?(limit: Limit): number
  /**
   * Only with width 0: a first array, and, between a probe and its take, the same array or a larger copy with room for
   * what was probed.
   */
  room?(cells: Float64Array | undefined): Float64Array
}

/** The pure step of a kernel: what other stores, models and tests call. State is the cells as plain numbers. */
export function toAlgorithm(kernel: Kernel): Algorithm<Limit, readonly number[]> {
  const verdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
  return {
    name: kernel.name,
    step(state, nowMs, cost, limit): Step<readonly number[]> {
      let cells = state
        ? Float64Array.from(state)
        : (kernel.room?.(undefined) ?? new Float64Array(kernel.width))
      if (state === undefined) kernel.begin?.(cells, 0, nowMs, limit)
      const grains = toGrains(cost, limit)
      const allowed = kernel.probe(cells, 0, nowMs, grains, limit, verdict)
      if (allowed) {
        // Only what was just probed tells how much room a charge needs.
        if (kernel.room) cells = kernel.room(cells)
        kernel.take(cells, 0, nowMs, grains, limit)
      }
      return {
        state: allowed || state === undefined ? Array.from(cells) : state,
        allowed,
        remaining: verdict.remaining,
        retryAfterMs: verdict.retryAfterMs,
        resetMs: verdict.resetMs,
        expireInMs: startsBelowFull(limit) ? Infinity : Math.max(0, kernel.wholeAt(cells, 0, limit) - nowMs),
      }
    },
  }
}
