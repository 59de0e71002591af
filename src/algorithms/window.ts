import type { Kernel } from './limit-types.ts'
import { haveSameWindows, type Limit } from './limit-types.ts'
import { rescaleRoundedUp } from './token-bucket.ts'

/* Cells: last charge, grains used in the window of the last charge. */
const LAST = 0
const USED = 1

/** Creates a kernel of fixed windows whose borders are given by two functions. Used by fixed-window and quota. */
export function windowKernel(
  name: string,
  startOf: (limit: Limit, moment: number) => number,
  endOf: (limit: Limit, moment: number) => number,
): Kernel {
  function usedAt(cells: Float64Array, at: number, moment: number, limit: Limit): number {
    return cells[at + LAST]! >= startOf(limit, moment) ? cells[at + USED]! : 0
  }

  return {
    name,
    width: 2,

    probe(cells, at, nowMs, grains, limit, out) {
      const moment = Math.max(nowMs, cells[at + LAST]!)
      const used = usedAt(cells, at, moment, limit)
      const leftMs = endOf(limit, moment) - moment
      const after = used + grains
      out.allowed = after <= limit.countGrains
      const held = out.allowed ? after : used
      out.remaining = Math.max(0, Math.floor((limit.countGrains - held) / limit.scale))
      out.resetMs = held > 0 ? leftMs : 0
      out.retryAfterMs = out.allowed ? 0 : grains > limit.countGrains ? Infinity : leftMs
      return out.allowed
    },

    charge(cells, at, nowMs, grains, limit) {
      const moment = Math.max(nowMs, cells[at + LAST]!)
      cells[at + USED] = usedAt(cells, at, moment, limit) + grains
      cells[at + LAST] = moment
    },

    refund(cells, at, nowMs, grains, limit) {
      const moment = Math.max(nowMs, cells[at + LAST]!)
      cells[at + USED] = Math.max(0, usedAt(cells, at, moment, limit) - grains)
    },

    migrate(cells, at, sinceMs, old, next) {
      if (!haveSameWindows(old, next)) {
        const moment = Math.max(sinceMs, cells[at + LAST]!)
        cells[at + USED] = usedAt(cells, at, moment, old)
        cells[at + LAST] = moment
      }
      cells[at + USED] = rescaleRoundedUp(cells[at + USED]!, next.scale, old.scale)
    },

    usedGrains(cells, at, nowMs, limit) {
      return usedAt(cells, at, Math.max(nowMs, cells[at + LAST]!), limit)
    },

    setUsed(cells, at, nowMs, grains) {
      cells[at + LAST] = nowMs
      cells[at + USED] = grains
    },

    fullAtMs(cells, at, limit) {
      const last = cells[at + LAST]!
      return cells[at + USED]! > 0 ? endOf(limit, last) : last
    },
  }
}
