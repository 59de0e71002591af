import type { Kernel } from './limit-types.ts'
import { haveSameWindows, type Limit } from './limit-types.ts'
import { rescaleRoundedUp } from './token-bucket.ts'

/* Cells: last charge, grains used in its window, grains used in the window before. */
const LAST = 0
const CURRENT = 1
const PREVIOUS = 2

/** Usage in the window of a time and in the one before it. Two module variables, so that no object is created. */
let current = 0
let previous = 0
function readUsage(cells: Float64Array, at: number, moment: number, periodMs: number): void {
  const last = cells[at + LAST]!
  const windows = Math.floor(moment / periodMs) - Math.floor(last / periodMs)
  current = windows === 0 ? cells[at + CURRENT]! : 0
  previous = windows === 0 ? cells[at + PREVIOUS]! : windows === 1 ? cells[at + CURRENT]! : 0
}

/** Returns the elapsed time of a window after which `used` of the previous one weighs at most `free` × period. */
function elapsedUntilFree(used: number, free: number, periodMs: number): number {
  return used === 0 ? 0 : Math.max(0, periodMs - Math.floor((free * periodMs) / used))
}

function retryAfterMs(grains: number, elapsed: number, limit: Limit): number {
  if (grains > limit.countGrains) return Infinity
  const free = limit.countGrains - grains
  if (current <= free) return elapsedUntilFree(previous, free - current, limit.periodMs) - elapsed
  return limit.periodMs - elapsed + elapsedUntilFree(current, free, limit.periodMs)
}

function resetMs(now: number, elapsed: number, periodMs: number): number {
  if (now > 0) return 2 * periodMs - elapsed
  return previous > 0 ? periodMs - elapsed : 0
}

/**
 * Two fixed windows. The earlier is weighted by its share of the last period, compared exactly: previous ×
 * (period − elapsed) + (current + cost) × period ≤ count × period. Admits less than twice the count in any
 * span of a period; about 5 % too much with Poisson arrivals.
 */
export const slidingCounterKernel: Kernel = {
  name: 'sliding-counter',
  width: 3,

  probe(cells, at, nowMs, grains, limit, out) {
    const { periodMs, countGrains } = limit
    const moment = Math.max(nowMs, cells[at + LAST]!)
    readUsage(cells, at, moment, periodMs)
    const elapsed = moment % periodMs
    const free = (countGrains - current) * periodMs - previous * (periodMs - elapsed)
    const left = free - grains * periodMs
    out.allowed = left >= 0
    out.remaining = Math.max(0, Math.floor((out.allowed ? left : free) / (periodMs * limit.scale)))
    out.retryAfterMs = out.allowed ? 0 : retryAfterMs(grains, elapsed, limit)
    out.resetMs = resetMs(out.allowed ? current + grains : current, elapsed, periodMs)
    return out.allowed
  },

  charge(cells, at, nowMs, grains, limit) {
    const moment = Math.max(nowMs, cells[at + LAST]!)
    readUsage(cells, at, moment, limit.periodMs)
    cells[at + LAST] = moment
    cells[at + CURRENT] = current + grains
    cells[at + PREVIOUS] = previous
  },

  refund(cells, at, nowMs, grains, limit) {
    readUsage(cells, at, Math.max(nowMs, cells[at + LAST]!), limit.periodMs)
    // A charge of an earlier window has its weight there, and is refunded there.
    const own = Math.min(cells[at + CURRENT]!, grains)
    cells[at + CURRENT] = cells[at + CURRENT]! - own
    cells[at + PREVIOUS] = Math.max(0, cells[at + PREVIOUS]! - (grains - own))
  },

  migrate(cells, at, sinceMs, old, next) {
    if (!haveSameWindows(old, next)) {
      const moment = Math.max(sinceMs, cells[at + LAST]!)
      cells[at + CURRENT] = this.usedGrains(cells, at, moment, old)
      cells[at + PREVIOUS] = 0
      cells[at + LAST] = moment
    }
    cells[at + CURRENT] = rescaleRoundedUp(cells[at + CURRENT]!, next.scale, old.scale)
    cells[at + PREVIOUS] = rescaleRoundedUp(cells[at + PREVIOUS]!, next.scale, old.scale)
  },

  usedGrains(cells, at, nowMs, limit) {
    const moment = Math.max(nowMs, cells[at + LAST]!)
    readUsage(cells, at, moment, limit.periodMs)
    const weighed = previous * (limit.periodMs - (moment % limit.periodMs))
    return current + Math.ceil(weighed / limit.periodMs)
  },

  setUsed(cells, at, nowMs, grains) {
    cells[at + LAST] = nowMs
    cells[at + CURRENT] = grains
  },

  fullAtMs(cells, at, limit) {
    const last = cells[at + LAST]!
    readUsage(cells, at, last, limit.periodMs)
    return last + resetMs(current, last % limit.periodMs, limit.periodMs)
  },
}
