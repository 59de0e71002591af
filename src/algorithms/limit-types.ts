import type { CalendarWindow } from './calendar.ts'
import type { CustomAlgorithm } from './custom-algorithm-types.ts'

export const ALGORITHM_NAMES = [
  'token-bucket',
  'leaky-bucket',
  'fixed-window',
  'sliding-log',
  'sliding-counter',
  'quota',
] as const

export type AlgorithmName = (typeof ALGORITHM_NAMES)[number]

/** Result of a charge or a probe. If allowed, `remaining` counts the charge as taken. */
export interface Verdict {
  allowed: boolean
  /** Remaining whole units. */
  remaining: number
  /** Whole milliseconds; 0 if allowed, Infinity if the cost can never pass. */
  retryAfterMs: number
  /** Whole milliseconds until the key is full again. */
  resetMs: number
  /** Set if the store did not answer: `local` for limits of this process, `none` if nothing was counted. */
  fallback?: 'local' | 'none' | undefined
}

/**
 * An algorithm on cells of a Float64Array. The only arithmetic of the project: the memory store uses it in
 * place, everything else as a pure step through {@link toAlgorithm}. Costs are in grains. Cell 0 is always
 * the time of the last charge. All-zero cells are an unseen key.
 */
export interface Kernel {
  readonly name: string
  /** Number of cells per key; 0 if each key has an array that grows. */
  readonly width: number
  /** Initialises zeroed cells for a key's first charge, if zeros are not enough. */
  initialize?(cells: Float64Array, at: number, nowMs: number, limit: Limit): void
  /** Writes the result of a charge to `out` without charging. Returns true if the cost fits. */
  probe(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit, out: Verdict): boolean
  /** Charges a cost that was just probed and fits. */
  charge(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit): void
  /** Refunds grains. The key never exceeds full. */
  refund(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit): void
  /** Returns the grains used at `nowMs`, rounded up. */
  usedGrains(cells: Float64Array, at: number, nowMs: number, limit: Limit): number
  /**
   * Converts cells of one limit to another limit of this kernel, as of the time the new one came into force.
   * Usage up to that time counts by the old limit. Fractions of a step or grain are rounded up.
   */
  migrate(cells: Float64Array, at: number, sinceMs: number, old: Limit, next: Limit): void
  /** Sets zeroed cells to `grains` used at `nowMs`. Used to migrate state to another algorithm. */
  setUsed(cells: Float64Array, at: number, nowMs: number, grains: number, limit: Limit): void
  /**
   * Returns the time from which the cells equal a full key. An unseen key is full, unless the limit starts
   * below full.
   */
  fullAtMs(cells: Float64Array, at: number, limit: Limit): number
  /** For width 0 only: maximum number of entries of a key, two cells each. */
  entries?(limit: Limit): number
  /** For width 0 only: creates a first array. Between a probe and its charge, returns the same array or a larger copy. */
  growCells?(cells: Float64Array | undefined): Float64Array
}

/**
 * Validated numbers of a rule, prepared for the kernels. Created by `createLimit` only. Kernels count in
 * whole **grains**: units, or thousandths of a unit if costs may be fractional.
 */
export interface Limit {
  /** Name of the rule. Its state is stored under it. */
  readonly name: string
  /** One of {@link ALGORITHM_NAMES}, or the name of `custom`. */
  readonly algorithm: string
  /** Custom algorithm, if the rule has one. */
  readonly custom?: CustomAlgorithm | undefined
  readonly kernel: Kernel
  /** Units per period. */
  readonly count: number
  readonly periodMs: number
  /** Capacity in units: the burst of a token bucket or custom algorithm, else the count. */
  readonly capacity: number
  /** Grains in a unit: 1 or 1000. */
  readonly scale: 1 | 1000
  readonly countGrains: number
  readonly capacityGrains: number
  /** Initial grains of a token bucket. */
  readonly initialGrains: number
  /** Steps of a token bucket in a grain. A grain and the refill of a millisecond are whole numbers of steps. */
  readonly stepsPerGrain: number
  readonly stepsPerMs: number
  readonly capacitySteps: number
  /** Calendar quotas only. */
  readonly calendar?: CalendarWindow | undefined
}

/** Returns true if windows of two limits begin and end at the same times. */
export function haveSameWindows(one: Limit, other: Limit): boolean {
  return one.periodMs === other.periodMs && one.calendar?.id === other.calendar?.id
}

/** Returns true if cells have the same meaning under two limits, so that nothing has to be converted. */
export function haveSameStateFormat(one: Limit, other: Limit): boolean {
  if (one.custom !== undefined) return one.custom === other.custom
  if (one.kernel !== other.kernel || one.scale !== other.scale) return false
  if (one.algorithm === 'token-bucket' || one.algorithm === 'leaky-bucket') {
    return one.stepsPerGrain === other.stepsPerGrain && one.stepsPerMs === other.stepsPerMs
  }
  return haveSameWindows(one, other)
}

/**
 * Returns true if an unseen key holds less than a full one. Keys of such a limit are kept even when full,
 * because forgotten ones would start at `initial` again.
 */
export function startsBelowFull(limit: Limit): boolean {
  return limit.initialGrains < limit.capacityGrains
}

/** Returns the algorithm of a limit, in the form that `createLimit` takes. */
export function algorithmOf(limit: Limit): AlgorithmName | CustomAlgorithm {
  return limit.custom ?? (limit.algorithm as AlgorithmName)
}

/** Returns a cost in grains of a limit, rounded up. Never negative, never NaN. */
export function toGrains(cost: number, limit: Limit): number {
  // The subtraction keeps 0.07 × 1000 = 70.00000000000001 from becoming 71.
  const grains = limit.scale === 1 ? Math.ceil(cost) : Math.ceil(cost * limit.scale - 1e-6)
  if (grains > 0) return grains
  // Rounding can produce -0. Negative numbers and NaN count as one unit, so that no cost returns units.
  return cost >= 0 ? 0 : limit.scale
}
