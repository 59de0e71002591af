import type { Kernel, Limit } from './limit-types.ts'

/*
 * Cells: last charge, deficit. The deficit is the amount missing from a full bucket, in steps so small that a
 * grain and the refill of a millisecond are whole numbers of them. No interval is ever rounded and nothing
 * drifts. Because the missing amount is stored, zeroed cells are a full bucket, and the burst can change
 * under a live key.
 */
const LAST = 0
const DEFICIT = 1

/**
 * Returns the deficit at a time. The product may exceed 2^53 after a long pause; it is then larger than any
 * deficit.
 */
export function deficitAt(cells: Float64Array, at: number, nowMs: number, stepsPerMs: number): number {
  const last = cells[at + LAST]!
  const deficit = cells[at + DEFICIT]!
  if (nowMs <= last) return deficit
  const left = deficit - (nowMs - last) * stepsPerMs
  return left > 0 ? left : 0
}

/**
 * Sets the deficit at a time. If the clock has stepped back, the time of the last charge is kept, so that
 * nothing is refilled twice.
 */
export function setDeficitAt(cells: Float64Array, at: number, nowMs: number, deficit: number): void {
  if (nowMs > cells[at + LAST]!) cells[at + LAST] = nowMs
  cells[at + DEFICIT] = deficit
}

/** Refills by the old limit up to a time and converts the rest to steps of the new limit. */
export function migrateBucket(
  cells: Float64Array,
  at: number,
  sinceMs: number,
  old: Pick<Limit, 'scale' | 'stepsPerGrain' | 'stepsPerMs'>,
  next: Pick<Limit, 'scale' | 'stepsPerGrain'>,
): void {
  const moment = Math.max(sinceMs, cells[at + LAST]!)
  const deficit = deficitAt(cells, at, moment, old.stepsPerMs)
  cells[at + LAST] = moment
  cells[at + DEFICIT] = rescaleRoundedUp(
    deficit,
    next.stepsPerGrain * next.scale,
    old.stepsPerGrain * old.scale,
  )
}

/** Returns value × to ÷ from for whole numbers, rounded up. Exact even if value × to is not. */
export function rescaleRoundedUp(value: number, to: number, from: number): number {
  if (to === from) return value
  const whole = Math.floor(value / from)
  return whole * to + Math.ceil(((value % from) * to) / from)
}

/** Bucket of capacity `burst` that starts full and refills continuously at count per period. */
export const tokenBucketKernel: Kernel = {
  name: 'token-bucket',
  width: 2,

  initialize(cells, at, nowMs, limit) {
    // Zeroed cells are a full bucket, so a denied first charge leaves no trace.
    if (limit.initialGrains === limit.capacityGrains) return
    cells[at + LAST] = nowMs
    cells[at + DEFICIT] = (limit.capacityGrains - limit.initialGrains) * limit.stepsPerGrain
  },

  probe(cells, at, nowMs, grains, limit, out) {
    const deficit = deficitAt(cells, at, nowMs, limit.stepsPerMs)
    const after = deficit + grains * limit.stepsPerGrain
    const free = limit.capacitySteps - after
    const unitSteps = limit.stepsPerGrain * limit.scale
    if (free >= 0) {
      out.allowed = true
      out.remaining = Math.floor(free / unitSteps)
      out.retryAfterMs = 0
      out.resetMs = Math.ceil(after / limit.stepsPerMs)
      return true
    }
    out.allowed = false
    // If a single unit does not fit, no whole unit remains. Saves a division for each message of a flood.
    const left = grains <= limit.scale ? 0 : limit.capacitySteps - deficit
    out.remaining = left > 0 ? Math.floor(left / unitSteps) : 0
    out.retryAfterMs = grains > limit.capacityGrains ? Infinity : Math.ceil(-free / limit.stepsPerMs)
    out.resetMs = Math.ceil(deficit / limit.stepsPerMs)
    return false
  },

  charge(cells, at, nowMs, grains, limit) {
    const deficit = deficitAt(cells, at, nowMs, limit.stepsPerMs)
    setDeficitAt(cells, at, nowMs, deficit + grains * limit.stepsPerGrain)
  },

  refund(cells, at, _nowMs, grains, limit) {
    cells[at + DEFICIT] = Math.max(0, cells[at + DEFICIT]! - grains * limit.stepsPerGrain)
  },

  migrate: migrateBucket,

  usedGrains(cells, at, nowMs, limit) {
    return Math.ceil(deficitAt(cells, at, nowMs, limit.stepsPerMs) / limit.stepsPerGrain)
  },

  setUsed(cells, at, nowMs, grains, limit) {
    cells[at + LAST] = nowMs
    cells[at + DEFICIT] = grains * limit.stepsPerGrain
  },

  fullAtMs(cells, at, limit) {
    return cells[at + LAST]! + Math.ceil(cells[at + DEFICIT]! / limit.stepsPerMs)
  },
}
