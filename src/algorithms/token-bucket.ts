import type { Kernel, Limit } from './limit.ts'

/*
 * Cells: last charge, deficit. The deficit is what is missing from a full bucket, in steps so small that a grain
 * and a millisecond's refill are both whole numbers of them: no interval is ever rounded and nothing drifts.
 * Counting what is missing makes zeroed cells a full bucket and lets the burst change under a live key.
 */
const LAST = 0
const DEFICIT = 1

/** The deficit at a moment. The product may pass 2^53 after a long rest; it is then larger than any deficit. */
export function deficitAt(cells: Float64Array, at: number, nowMs: number, stepsPerMs: number): number {
  const last = cells[at + LAST]!
  const deficit = cells[at + DEFICIT]!
  if (nowMs <= last) return deficit
  const left = deficit - (nowMs - last) * stepsPerMs
  return left > 0 ? left : 0
}

/** Sets the deficit at a moment. A clock that has gone back mints nothing: the last charge stays where it was. */
export function settleAt(cells: Float64Array, at: number, nowMs: number, deficit: number): void {
  if (nowMs > cells[at + LAST]!) cells[at + LAST] = nowMs
  cells[at + DEFICIT] = deficit
}

/** Lets the deficit of one limit flow in up to a moment, and turns what is left into steps of another limit. */
export function carrySteps(
  cells: Float64Array,
  at: number,
  sinceMs: number,
  old: Pick<Limit, 'scale' | 'stepsPerGrain' | 'stepsPerMs'>,
  next: Pick<Limit, 'scale' | 'stepsPerGrain'>,
): void {
  const moment = Math.max(sinceMs, cells[at + LAST]!)
  const deficit = deficitAt(cells, at, moment, old.stepsPerMs)
  cells[at + LAST] = moment
  cells[at + DEFICIT] = rescale(deficit, next.stepsPerGrain * next.scale, old.stepsPerGrain * old.scale)
}

/** value × to ÷ from of whole numbers, rounded up; exact also where value × to is not. */
export function rescale(value: number, to: number, from: number): number {
  if (to === from) return value
  const whole = Math.floor(value / from)
  return whole * to + Math.ceil(((value % from) * to) / from)
}

/** Capacity `burst`, starts full, refills continuously at count per period. */
export const tokenBucket: Kernel = {
  name: 'token-bucket',
  width: 2,

  begin(cells, at, nowMs, limit) {
    // Zeroed cells are a full bucket: one that starts full keeps no trace of a first charge that is denied.
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
    // What a single unit does not fit in has no whole unit left; a division less for the message of a flood.
    const left = grains <= limit.scale ? 0 : limit.capacitySteps - deficit
    out.remaining = left > 0 ? Math.floor(left / unitSteps) : 0
    out.retryAfterMs = grains > limit.capacityGrains ? Infinity : Math.ceil(-free / limit.stepsPerMs)
    out.resetMs = Math.ceil(deficit / limit.stepsPerMs)
    return false
  },

  take(cells, at, nowMs, grains, limit) {
    const deficit = deficitAt(cells, at, nowMs, limit.stepsPerMs)
    settleAt(cells, at, nowMs, deficit + grains * limit.stepsPerGrain)
  },

  refund(cells, at, _nowMs, grains, limit) {
    cells[at + DEFICIT] = Math.max(0, cells[at + DEFICIT]! - grains * limit.stepsPerGrain)
  },

  carry: carrySteps,

  spent(cells, at, nowMs, limit) {
    return Math.ceil(deficitAt(cells, at, nowMs, limit.stepsPerMs) / limit.stepsPerGrain)
  },

  seed(cells, at, nowMs, grains, limit) {
    cells[at + LAST] = nowMs
    cells[at + DEFICIT] = grains * limit.stepsPerGrain
  },

  wholeAt(cells, at, limit) {
    return cells[at + LAST]! + Math.ceil(cells[at + DEFICIT]! / limit.stepsPerMs)
  },
}
