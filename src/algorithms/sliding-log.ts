import type { Kernel, Limit } from './limit-types.ts'
import { rescaleRoundedUp } from './token-bucket.ts'

/*
 * Cells: last charge, grains in the ring, first entry, number of entries, then a ring of (time, grains).
 * Charges in the same millisecond share an entry, so a ring never holds more entries than grains of the
 * limit.
 */
const LAST = 0
const USED = 1
const FIRST = 2
const SIZE = 3
const RING = 4
const SMALLEST_RING = 4

function entryAt(cells: Float64Array, index: number): number {
  const capacity = (cells.length - RING) >> 1
  return RING + 2 * ((cells[FIRST]! + index) % capacity)
}

/** Number of entries that have left the window at a time, and their grains. */
let gone = 0
let goneGrains = 0
function passBy(cells: Float64Array, moment: number, periodMs: number): void {
  gone = 0
  goneGrains = 0
  const size = cells[SIZE]!
  while (gone < size) {
    const entry = entryAt(cells, gone)
    if (cells[entry]! > moment - periodMs) return
    goneGrains += cells[entry + 1]!
    gone++
  }
}

/** Drops the entries that {@link passBy} found. */
function dropPassed(cells: Float64Array): void {
  cells[FIRST] = (cells[FIRST]! + gone) % ((cells.length - RING) >> 1)
  cells[SIZE] = cells[SIZE]! - gone
  cells[USED] = cells[USED]! - goneGrains
}

/** Returns the time at which `needed` more grains have left the window, from the first entry still in it. */
function freeAt(cells: Float64Array, needed: number, limit: Limit): number {
  let freed = 0
  let index = gone
  while (true) {
    const entry = entryAt(cells, index)
    freed += cells[entry + 1]!
    if (freed >= needed) return cells[entry]! + limit.periodMs
    index++
  }
}

/** Remembers each charge. Exact: a unit admitted at s counts in (now − period, now] and is free at s + period. */
export const slidingLogKernel: Kernel = {
  name: 'sliding-log',
  width: 0,
  entries: limit => limit.count,

  growCells(cells) {
    if (cells === undefined) return new Float64Array(RING + 2 * SMALLEST_RING)
    const size = cells[SIZE]!
    const capacity = (cells.length - RING) >> 1
    if (size < capacity) return cells
    const larger = new Float64Array(RING + 4 * capacity)
    larger[LAST] = cells[LAST]!
    larger[USED] = cells[USED]!
    larger[SIZE] = size
    for (let index = 0; index < size; index++) {
      const entry = entryAt(cells, index)
      larger[RING + 2 * index] = cells[entry]!
      larger[RING + 2 * index + 1] = cells[entry + 1]!
    }
    return larger
  },

  probe(cells, _at, nowMs, grains, limit, out) {
    const moment = Math.max(nowMs, cells[LAST]!)
    passBy(cells, moment, limit.periodMs)
    const used = cells[USED]! - goneGrains
    const after = used + grains
    out.allowed = after <= limit.countGrains
    const held = out.allowed ? after : used
    out.remaining = Math.max(0, Math.floor((limit.countGrains - held) / limit.scale))
    if (out.allowed) {
      out.retryAfterMs = 0
      out.resetMs = grains > 0 ? limit.periodMs : used > 0 ? newest(cells) + limit.periodMs - moment : 0
      return true
    }
    out.retryAfterMs =
      grains > limit.countGrains ? Infinity : freeAt(cells, after - limit.countGrains, limit) - moment
    out.resetMs = used > 0 ? newest(cells) + limit.periodMs - moment : 0
    return false
  },

  charge(cells, _at, nowMs, grains, limit) {
    const moment = Math.max(nowMs, cells[LAST]!)
    passBy(cells, moment, limit.periodMs)
    cells[LAST] = moment
    dropPassed(cells)
    if (grains === 0) return
    const size = cells[SIZE]!
    if (size > 0 && newest(cells) === moment) {
      const entry = entryAt(cells, size - 1)
      cells[entry + 1] = cells[entry + 1]! + grains
    } else {
      const entry = entryAt(cells, size)
      cells[entry] = moment
      cells[entry + 1] = grains
      cells[SIZE] = size + 1
    }
    cells[USED] = cells[USED]! + grains
  },

  refund(cells, _at, _nowMs, grains) {
    let left = Math.min(grains, cells[USED]!)
    cells[USED] = cells[USED]! - left
    while (left > 0) {
      const entry = entryAt(cells, cells[SIZE]! - 1)
      const given = Math.min(left, cells[entry + 1]!)
      cells[entry + 1] = cells[entry + 1]! - given
      if (cells[entry + 1] === 0) cells[SIZE] = cells[SIZE]! - 1
      left -= given
    }
  },

  /** Entries keep their times. Those that had left the old window are dropped. */
  migrate(cells, _at, sinceMs, old, next) {
    passBy(cells, Math.max(sinceMs, cells[LAST]!), old.periodMs)
    dropPassed(cells)
    if (old.scale === next.scale) return
    // Rounds the sum at each time, not each entry: a thousand tenths are a hundred, not a thousand.
    let exact = 0
    let rounded = 0
    for (let index = cells[SIZE]! - 1; index >= 0; index--) {
      const entry = entryAt(cells, index)
      exact += cells[entry + 1]!
      const sum = rescaleRoundedUp(exact, next.scale, old.scale)
      cells[entry + 1] = sum - rounded
      rounded = sum
    }
    cells[USED] = rounded
  },

  usedGrains(cells, _at, nowMs, limit) {
    passBy(cells, Math.max(nowMs, cells[LAST]!), limit.periodMs)
    return cells[USED]! - goneGrains
  },

  setUsed(cells, _at, nowMs, grains) {
    cells[LAST] = nowMs
    if (grains === 0) return
    cells[RING] = nowMs
    cells[RING + 1] = grains
    cells[SIZE] = 1
    cells[USED] = grains
  },

  fullAtMs(cells, _at, limit) {
    return cells[SIZE]! > 0 ? newest(cells) + limit.periodMs : cells[LAST]!
  },
}

/** Returns the time of the last entry. The log must not be empty. */
function newest(cells: Float64Array): number {
  return cells[entryAt(cells, cells[SIZE]! - 1)]!
}
