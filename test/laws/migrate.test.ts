import { describe, expect, it } from 'vitest'
import { createLimit, KERNELS, type Limit } from '../../src/algorithms/index.ts'
import { migrateState } from '../../src/stores/persistence/migrate-state.ts'
import { random } from '../support/random.ts'

/** Parts of a day; of other periods less than a step is rounded up when they change a second time. */
const PERIODS_MS = [250, 1_000, 30_000, 60_000, 3_600_000, 86_400_000]
/** A unit in parts that are whole numbers under each of them. */
const PARTS = PERIODS_MS.reduce((product, periodMs) => product * BigInt(periodMs), 1n)

interface Numbers {
  readonly count: number
  readonly periodMs: number
  readonly burst: number
}

/** What a bucket has given out and not yet got back, exactly. */
class ExactBucket {
  missing = 0n
  atMs = 0

  pass(nowMs: number, { count, periodMs }: Numbers): void {
    const flowedIn = (BigInt(nowMs - this.atMs) * BigInt(count) * PARTS) / BigInt(periodMs)
    this.missing = this.missing > flowedIn ? this.missing - flowedIn : 0n
    this.atMs = nowMs
  }
}

function msUntil(parts: bigint, { count, periodMs }: Numbers): number {
  const perMs = (BigInt(count) * PARTS) / BigInt(periodMs)
  return parts <= 0n ? 0 : Number((parts + perMs - 1n) / perMs)
}

describe('a change of numbers counts from its own moment on, exactly, however often they change', () => {
  it.each(['token-bucket', 'leaky-bucket'] as const)('%s', algorithm => {
    let denied = 0
    for (let seed = 1; seed <= 200; seed++) {
      const dice = random(seed)
      const roll = (): Numbers => {
        const count = dice.int(1, 9)
        return { count, periodMs: dice.pick(PERIODS_MS), burst: dice.int(1, 9) }
      }
      const limitOf = ({ count, periodMs, burst }: Numbers): Limit =>
        createLimit({
          ...{ name: 'r', algorithm, count, periodMs },
          ...(algorithm === 'token-bucket' ? { burst } : {}),
        })
      let numbers = roll()
      let limit = limitOf(numbers)
      let cells: Float64Array = new Float64Array(limit.kernel.width)
      const exact = new ExactBucket()
      let nowMs = 1_700_000_000_000
      exact.atMs = nowMs
      const out = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
      for (let step = 0; step < 60; step++) {
        nowMs += dice.pick([0, 1, 17, 250, 999, 4_321, 60_000])
        exact.pass(nowMs, numbers)
        if (dice.chance(0.25)) {
          const before = limit
          numbers = roll()
          limit = limitOf(numbers)
          cells =
            migrateState(cells, before, [{ limit, sinceMs: nowMs }]) ?? new Float64Array(limit.kernel.width)
          continue
        }
        const perMs = (BigInt(numbers.count) * PARTS) / BigInt(numbers.periodMs)
        const room = algorithm === 'token-bucket' ? BigInt(numbers.burst) * PARTS - PARTS : perMs - 1n
        const allowed = exact.missing <= room
        KERNELS[algorithm].probe(cells, 0, nowMs, 1, limit, out)
        const told = JSON.stringify({ seed, step, numbers })
        expect(out.allowed, told).toBe(allowed)
        expect(out.retryAfterMs, told).toBe(allowed ? 0 : msUntil(exact.missing - room, numbers))
        if (allowed) {
          KERNELS[algorithm].charge(cells, 0, nowMs, 1, limit)
          exact.missing += PARTS
        } else denied++
        expect(out.resetMs, told).toBe(msUntil(exact.missing, numbers))
      }
    }
    expect(denied).toBeGreaterThan(500)
  })

  it('keeps the moments of a sliding log, and what had left its old window stays gone', () => {
    const [long, short] = [60_000, 10_000].map(periodMs =>
      createLimit({ name: 'r', algorithm: 'sliding-log', count: 3, periodMs }),
    ) as [Limit, Limit]
    const { kernel } = long
    let cells = kernel.growCells!(undefined)
    for (const ms of [0, 20_000, 29_000]) {
      cells = kernel.growCells!(cells)
      kernel.charge(cells, 0, ms, 1, long)
    }
    expect(kernel.usedGrains(cells, 0, 30_000, long)).toBe(3)
    kernel.migrate(cells, 0, 30_000, long, short)
    expect(kernel.usedGrains(cells, 0, 30_000, short)).toBe(1)
    kernel.migrate(cells, 0, 30_001, short, long)
    expect(kernel.usedGrains(cells, 0, 30_001, long)).toBe(1)
    expect(kernel.usedGrains(cells, 0, 88_999, long)).toBe(1)
    expect(kernel.usedGrains(cells, 0, 89_000, long)).toBe(0)
  })

  it('rounds tenths of units that are migrated to whole ones over their sum', () => {
    const [fine, whole] = [true, false].map(fractional =>
      createLimit({ name: 'r', algorithm: 'sliding-log', count: 5, periodMs: 1_000, fractional }),
    ) as [Limit, Limit]
    const { kernel } = fine
    let cells = kernel.growCells!(undefined)
    for (let ms = 0; ms < 25; ms++) {
      cells = kernel.growCells!(cells)
      kernel.charge(cells, 0, ms, 100, fine)
    }
    kernel.migrate(cells, 0, 30, fine, whole)
    expect(kernel.usedGrains(cells, 0, 30, whole)).toBe(3)
    expect(kernel.usedGrains(cells, 0, 1_005, whole)).toBe(2)
  })
})
