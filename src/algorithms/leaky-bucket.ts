import type { Kernel } from './kernel.ts'
import type { Limit } from './limit.ts'

/*
 * Cells: last charge, next free moment rounded up to a whole millisecond. A charge starts from the whole
 * millisecond `now`, never from the old `next`, so rounding up decides the same and cannot add up.
 */
const LAST = 0
const NEXT = 1

/** How long a cost occupies the bucket. */
function gapMs(grains: number, limit: Limit): number {
  return Math.ceil((grains * limit.periodMs) / limit.countGrains)
}

/** A meter without burst: passes when now ≥ next, then next = now + cost × period ÷ count. */
export const leakyBucket: Kernel = {
  name: 'leaky-bucket',
  width: 2,

  probe(cells, at, nowMs, grains, limit, out) {
    const waitMs = cells[at + NEXT]! - Math.max(nowMs, cells[at + LAST]!)
    out.allowed = waitMs <= 0
    out.remaining = out.allowed && grains === 0 ? 1 : 0
    out.retryAfterMs = out.allowed ? 0 : waitMs
    out.resetMs = out.allowed ? gapMs(grains, limit) : waitMs
    return out.allowed
  },

  take(cells, at, nowMs, grains, limit) {
    const moment = Math.max(nowMs, cells[at + LAST]!)
    cells[at + LAST] = moment
    cells[at + NEXT] = moment + gapMs(grains, limit)
  },

  refund(cells, at, _nowMs, grains, limit) {
    cells[at + NEXT] = Math.max(cells[at + LAST]!, cells[at + NEXT]! - gapMs(grains, limit))
  },

  spent(cells, at, nowMs, limit) {
    const waitMs = Math.max(0, cells[at + NEXT]! - Math.max(nowMs, cells[at + LAST]!))
    return Math.ceil((waitMs * limit.countGrains) / limit.periodMs)
  },

  seed(cells, at, nowMs, grains, limit) {
    cells[at + LAST] = nowMs
    cells[at + NEXT] = nowMs + gapMs(grains, limit)
  },

  wholeAt(cells, at) {
    return cells[at + NEXT]!
  },
}
