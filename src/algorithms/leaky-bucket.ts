import type { Kernel } from './limit-types.ts'
import { deficitAt, migrateBucket, setDeficitAt } from './token-bucket.ts'

/*
 * Cells: last charge, debt. The debt is the distance of the next free time from the last charge, in steps
 * (see token-bucket.ts). The next time is therefore an exact fraction of a millisecond, and remainders are
 * carried on.
 */
const LAST = 0
const DEBT = 1

/**
 * Leaky bucket without burst: passes when now ≥ ⌊next⌋, then next = max(next, now) + cost × period ÷ count. A
 * message passes in the millisecond of its time, so the rate is exact. A cost of 0 always passes.
 */
export const leakyBucketKernel: Kernel = {
  name: 'leaky-bucket',
  width: 2,

  probe(cells, at, nowMs, grains, limit, out) {
    const { stepsPerMs } = limit
    const debt = deficitAt(cells, at, nowMs, stepsPerMs)
    out.allowed = debt < stepsPerMs || grains === 0
    const after = out.allowed ? debt + grains * limit.stepsPerGrain : debt
    out.remaining = after < stepsPerMs ? 1 : 0
    out.retryAfterMs = out.allowed ? 0 : Math.floor(debt / stepsPerMs)
    out.resetMs = Math.ceil(after / stepsPerMs)
    return out.allowed
  },

  charge(cells, at, nowMs, grains, limit) {
    const debt = deficitAt(cells, at, nowMs, limit.stepsPerMs)
    setDeficitAt(cells, at, nowMs, debt + grains * limit.stepsPerGrain)
  },

  refund(cells, at, _nowMs, grains, limit) {
    const debt = cells[at + DEBT]! - grains * limit.stepsPerGrain
    // Also covers the refund of an infinite debt, which is NaN.
    cells[at + DEBT] = debt > 0 ? debt : 0
  },

  migrate: migrateBucket,

  usedGrains(cells, at, nowMs, limit) {
    return Math.ceil(deficitAt(cells, at, nowMs, limit.stepsPerMs) / limit.stepsPerGrain)
  },

  setUsed(cells, at, nowMs, grains, limit) {
    cells[at + LAST] = nowMs
    cells[at + DEBT] = grains * limit.stepsPerGrain
  },

  fullAtMs(cells, at, limit) {
    return cells[at + LAST]! + Math.ceil(cells[at + DEBT]! / limit.stepsPerMs)
  },
}
