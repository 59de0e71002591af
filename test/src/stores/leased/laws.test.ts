import { describe, expect, it } from 'vitest'
import type { Limit } from '../../../../src/algorithms/limit-types.ts'
import { leaseTermsOf, parseLeaseOptions } from '../../../../src/stores/leased/lease-terms.ts'
import type { LeasedStore } from '../../../../src/stores/leased/leased-store.ts'
import type { Verdict } from '../../../../src/stores/store.ts'
import { type Random, random } from '../../../support/random.ts'
import { bucket, type ClusterLoad, charge, left, openFleet, take } from './nodes.ts'

interface Admitted {
  readonly atMs: number
  readonly cost: number
}

interface History {
  readonly limit: Limit
  readonly nodes: number
  readonly units: number | 'auto'
  readonly ttlMs: number
  readonly steps: number
}

/** Sends messages at random nodes, in bursts and pauses; nodes crash with their leases and restart empty. */
async function live(fleet: ClusterLoad, dice: Random, history: History): Promise<Admitted[]> {
  const { limit, nodes, units, ttlMs, steps } = history
  const open = (): LeasedStore => fleet.open({ nodes, units, ttlMs, tolerance: 0.5 })
  const stores = Array.from({ length: nodes }, open)
  const admitted: Admitted[] = []
  /** Messages that wait, by node; those of a crashed node are never answered. */
  const waiting = stores.map(() => [] as Promise<void>[])
  for (let step = 0; step < steps; step++) {
    const at = dice.int(0, nodes - 1)
    const roll = dice.next()
    if (roll < 0.01) {
      fleet.crash(stores[at]!)
      stores[at] = open()
      waiting[at] = []
    } else if (roll < 0.02) {
      await stores[at]!.close()
      stores[at] = open()
    } else if (roll < 0.1) await fleet.clock.advanceAsync(dice.int(0, ttlMs * 2))
    else if (roll < 0.4) await fleet.clock.advanceAsync(dice.int(1, 20))
    for (let messages = dice.int(0, 30); messages > 0; messages--) {
      const cost = dice.chance(0.1) ? dice.int(1, 10) : 1
      const note = ([verdict]: readonly Verdict[]): void => {
        if (verdict!.allowed) admitted.push({ atMs: fleet.clock.now(), cost })
      }
      const answer = stores[at]!.decide([charge(limit, { cost })], { commit: true })
      if (answer instanceof Promise) waiting[at]!.push(answer.then(note))
      else note(answer)
    }
    if (dice.chance(0.7)) await Promise.all(waiting.flatMap(each => each.splice(0)))
  }
  await Promise.all(waiting.flat())
  return admitted
}

/** Returns the largest excess of any span between two admissions over `count` per `periodMs`. */
function mostBeyondRate(admitted: readonly Admitted[], { count, periodMs }: Limit): number {
  // Kadane's algorithm: the span that ends here either continues, less the time between, or begins here.
  let most = 0
  let beyond = 0
  let lastMs = 0
  for (const { atMs, cost } of admitted) {
    beyond = Math.max(0, beyond - ((atMs - lastMs) * count) / periodMs) + cost
    lastMs = atMs
    most = Math.max(most, beyond)
  }
  return most
}

const sum = (admitted: readonly Admitted[]): number => admitted.reduce((total, { cost }) => total + cost, 0)

describe('law 10: leases over all nodes', () => {
  it.each(['auto', 7, 40] as const)(
    'admit in any span at most burst + rate × span + min(nodes × lease, burst + rate × ttl), at units %s',
    async units => {
      let lentOut = 0
      for (let seed = 1; seed <= 40; seed++) {
        const dice = random(seed)
        const limit = bucket({ count: dice.int(50, 3_000), burst: dice.int(40, 800) })
        const nodes = dice.int(1, 6)
        const ttlMs = dice.pick([50, 200, 2_000])
        const startMs = 1_700_000_000_000
        const fleet = openFleet(startMs)
        const admitted = await live(fleet, dice, { limit, nodes, units, ttlMs, steps: 200 })
        const { capacity: burst, count, periodMs, scale } = limit
        const { maxGrains } = leaseTermsOf(limit, parseLeaseOptions({ units, ttlMs, nodes, tolerance: 0.5 }))!
        const held = Math.min((nodes * maxGrains) / scale, burst + (count * ttlMs) / periodMs)
        const seen = `seed ${seed}`
        expect(mostBeyondRate(admitted, limit), seen).toBeLessThanOrEqual(burst + held)
        // Nothing is minted: from the beginning, no unit more than a single bucket would have given.
        const total = burst + ((fleet.clock.now() - startMs) * count) / periodMs
        expect(sum(admitted), seen).toBeLessThanOrEqual(total)
        expect(admitted.length, seen).toBeGreaterThan(100)
        if (maxGrains > 0) lentOut++
      }
      expect(lentOut).toBeGreaterThan(30)
    },
  )

  it.each(['fixed-window', 'quota'] as const)(
    'never admit more than the count in a window: %s',
    async algorithm => {
      for (let seed = 1; seed <= 25; seed++) {
        const dice = random(seed)
        const calendar = { unit: 'day', zone: 'UTC' } as const
        const periodMs = algorithm === 'quota' ? 86_400_000 : dice.pick([500, 1_000, 7_000])
        const limit = bucket({
          algorithm,
          count: dice.int(50, 900),
          periodMs,
          ...(algorithm === 'quota' && { calendar }),
        })
        // Near midnight, so that a day ends during the history.
        const fleet = openFleet(Date.UTC(2025, 5, 1) - 5_000)
        const nodes = dice.int(1, 5)
        const admitted = await live(fleet, dice, { limit, nodes, units: 'auto', ttlMs: 1_000, steps: 250 })
        const windows = new Map<number, number>()
        for (const { atMs, cost } of admitted) {
          const window = Math.floor(atMs / periodMs)
          windows.set(window, (windows.get(window) ?? 0) + cost)
        }
        expect(windows.size).toBeGreaterThan(1)
        for (const units of windows.values()) expect(units, `seed ${seed}`).toBeLessThanOrEqual(limit.count)
      }
    },
  )

  it('admit exactly the limit if it is small: below 2 × nodes ÷ tolerance nothing is leased', async () => {
    for (const algorithm of ['token-bucket', 'fixed-window'] as const) {
      const fleet = openFleet()
      const limit = bucket({ algorithm, count: 159, periodMs: 3_600_000 })
      const stores = Array.from({ length: 8 }, () => fleet.open({ nodes: 8, tolerance: 0.1 }))
      const verdicts = await Promise.all(
        Array.from({ length: 400 }, (_, index) => take(stores[index % 8]!, limit)),
      )
      expect(verdicts.filter(({ allowed }) => allowed)).toHaveLength(159)
      expect(left(fleet, limit)).toBe(0)
      // From then on each node decides from its own cache.
      const before = fleet.calls.decide
      for (const store of stores)
        expect(store.decide([charge(limit)], { commit: true })).toBeInstanceOf(Array)
      expect(fleet.calls.decide).toBe(before)
    }
  })

  it('hand out every unit in the end, whichever nodes ask', async () => {
    const fleet = openFleet()
    const limit = bucket({
      algorithm: 'quota',
      count: 5_000,
      periodMs: 86_400_000,
      calendar: { unit: 'day', zone: 'UTC' },
    })
    const stores = Array.from({ length: 8 }, () => fleet.open())
    let admitted = 0
    // All nodes begin, then one alone continues.
    for (let round = 0; round < 200; round++) {
      for (const store of round < 20 ? stores : stores.slice(0, 1)) {
        for (let times = 0; times < 40; times++) if ((await take(store, limit)).allowed) admitted++
      }
      await fleet.clock.advanceAsync(round < 20 ? 1 : 200)
    }
    expect(admitted).toBe(5_000)
    expect(left(fleet, limit)).toBe(0)
  })

  it('use up a limit with ten times the demand, at one call per ten admitted messages', async () => {
    const fleet = openFleet()
    const limit = bucket({ burst: 2_000 })
    const stores = Array.from({ length: 4 }, () => fleet.open({ nodes: 4 }))
    let admitted = 0
    for (let ms = 0; ms < 2_000; ms++) {
      const messages = stores.flatMap(store => Array.from({ length: 25 }, () => take(store, limit)))
      for (const { allowed } of await Promise.all(messages)) if (allowed) admitted++
      await fleet.clock.advanceAsync(1)
    }
    const ideal = 2_000 + 2_000 * 10
    expect(admitted).toBeLessThanOrEqual(ideal)
    expect(admitted).toBeGreaterThan(0.99 * ideal)
    expect(fleet.calls.decide).toBeLessThan(ideal / 10)
  })
})
