import type { CustomAlgorithm } from './algorithm.ts'
import type { CalendarWindow } from './calendar.ts'

export const ALGORITHMS = [
  'token-bucket',
  'leaky-bucket',
  'fixed-window',
  'sliding-log',
  'sliding-counter',
  'quota',
] as const

export type AlgorithmName = (typeof ALGORITHMS)[number]

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

/**
 * A rule's numbers, checked and ready for the kernels. Made by `createLimit`, never by hand. Kernels count in
 * whole **grains**: units, or thousandths of a unit where a cost may be a fraction.
 */
export interface Limit {
  /** The rule's name: its state lives under it. */
  readonly name: string
  /** One of {@link ALGORITHMS}, or the name of `custom`. */
  readonly algorithm: string
  /** The algorithm of the user's own, where the rule has one. */
  readonly custom?: CustomAlgorithm | undefined
  readonly kernel: Kernel
  /** Units per period. */
  readonly count: number
  readonly periodMs: number
  /** The most the rule can hold, in units: burst of a token bucket or a custom algorithm, else the count. */
  readonly capacity: number
  /** Grains in a unit: 1 or 1000. */
  readonly scale: 1 | 1000
  readonly countGrains: number
  readonly capacityGrains: number
  /** Grains a token bucket starts with. */
  readonly initialGrains: number
  /** A token bucket counts in steps: whole numbers of them make a grain and a millisecond's refill. */
  readonly stepsPerGrain: number
  readonly stepsPerMs: number
  readonly capacitySteps: number
  /** Only of a calendar quota. */
  readonly calendar?: CalendarWindow | undefined
}

/** Whether windows of two limits begin and end at the same moments. */
export function haveSameWindows(one: Limit, other: Limit): boolean {
  return one.periodMs === other.periodMs && one.calendar?.id === other.calendar?.id
}

/** Whether cells mean and do the same under two limits, whatever else differs: then nothing is to be carried over. */
export function countAlike(one: Limit, other: Limit): boolean {
  if (one.custom !== undefined) return one.custom === other.custom
  if (one.kernel !== other.kernel || one.scale !== other.scale) return false
  if (one.algorithm === 'token-bucket' || one.algorithm === 'leaky-bucket') {
    return one.stepsPerGrain === other.stepsPerGrain && one.stepsPerMs === other.stepsPerMs
  }
  return haveSameWindows(one, other)
}

/**
 * Whether an unseen key of a limit holds less than a full one. Keys of such a limit are kept also when they are full
 * again: forgotten, they would start at `initial` anew.
 */
export function startsBelowFull(limit: Limit): boolean {
  return limit.initialGrains < limit.capacityGrains
}

/** What a limit counts by, as `createLimit` takes it. */
export function algorithmOf(limit: Limit): AlgorithmName | CustomAlgorithm {
  return limit.custom ?? (limit.algorithm as AlgorithmName)
}

/** A cost in grains of a limit, rounded up to its grid; never negative, never NaN. */
export function toGrains(cost: number, limit: Limit): number {
  // The subtraction keeps 0.07 × 1000 = 70.00000000000001 from becoming 71.
  const grains = limit.scale === 1 ? Math.ceil(cost) : Math.ceil(cost * limit.scale - 1e-6)
  if (grains > 0) return grains
  // Rounding makes -0 of 0. What is negative or not a number counts as one unit: no cost gives back, none is NaN.
  return cost >= 0 ? 0 : limit.scale
}
