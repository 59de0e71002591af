import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../../../src/stores/store.ts'
import { bucket, charge, left, openFleet, take } from './nodes.ts'

const COMMIT = { commit: true } as const

describe('a leased store', () => {
  it('asks once and then decides synchronously while it has units', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100 })
    const first = store.decide([charge(limit)], COMMIT)
    expect(first).toBeInstanceOf(Promise)
    expect((await first)[0]).toMatchObject({ allowed: true, remaining: 9_999 })
    // No request before half of the lease is spent.
    for (let times = 0; times < 49; times++) {
      const verdicts = store.decide([charge(limit)], COMMIT) as Verdict[]
      expect(verdicts[0]).toMatchObject({ allowed: true, remaining: 9_998 - times, retryAfterMs: 0 })
    }
    expect(fleet.calls.decide).toBe(1)
    expect(left(fleet, limit)).toBe(9_900)
  })

  it('renews a lease before it is spent, with one request and no waiting message', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100 })
    await take(store, limit)
    for (let times = 0; times < 500; times++) {
      expect(store.decide([charge(limit)], COMMIT)).not.toBeInstanceOf(Promise)
      if (times % 25 === 24) await Promise.resolve(fleet.clock.advanceAsync(0))
    }
    expect(fleet.calls.decide).toBeLessThanOrEqual(11)
    // No node ever holds more than its lease.
    expect(left(fleet, limit)).toBeGreaterThanOrEqual(10_000 - 501 - 100)
  })

  it('asks once for a thousand messages that arrive together', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 1_250 })
    const verdicts = await Promise.all(Array.from({ length: 1_000 }, () => take(store, limit)))
    expect(verdicts.filter(({ allowed }) => allowed)).toHaveLength(1_000)
    expect(fleet.calls.decide).toBe(2)
    expect(left(fleet, limit)).toBeGreaterThanOrEqual(10_000 - 1_000 - 1_250)
  })

  it('decides over several rules in one step, all or none', async () => {
    const fleet = openFleet()
    const [wide, narrow] = [bucket({ name: 'wide' }), bucket({ name: 'narrow', count: 1_000 })]
    const store = fleet.open({ units: 100 })
    const both = [charge(wide), charge(narrow)]
    await store.decide(both, COMMIT)
    expect(store.decide(both, COMMIT)).not.toBeInstanceOf(Promise)
    await store.close()
    expect(left(fleet, wide)).toBe(9_998)
    expect(left(fleet, narrow)).toBe(998)
  })

  it('charges no rule for a message that one of them refuses', async () => {
    const fleet = openFleet()
    const [wide, narrow] = [bucket({ name: 'wide' }), bucket({ name: 'narrow', count: 5, periodMs: 60_000 })]
    const store = fleet.open({ units: 100 })
    const both = [charge(wide), charge(narrow)]
    const allowed: boolean[][] = []
    for (let times = 0; times < 8; times++) {
      allowed.push((await store.decide(both, COMMIT)).map(verdict => verdict.allowed))
    }
    expect(allowed.filter(each => each.every(Boolean))).toHaveLength(5)
    expect(allowed.at(-1)).toEqual([true, false])
    await store.close()
    expect(left(fleet, wide)).toBe(9_995)
    expect(left(fleet, narrow)).toBe(0)
  })

  it.each(['leaky-bucket', 'sliding-log', 'sliding-counter'] as const)(
    'leases nothing of a %s, and restores units of a message that it refuses',
    async algorithm => {
      const fleet = openFleet()
      const leased = bucket()
      const exact = bucket({ name: 'exact', algorithm, count: 1, periodMs: 60_000 })
      const store = fleet.open({ units: 100 })
      const both = [charge(leased), charge(exact)]
      expect((await store.decide(both, COMMIT)).map(({ allowed }) => allowed)).toEqual([true, true])
      for (let times = 0; times < 10; times++) {
        expect((await store.decide(both, COMMIT)).map(({ allowed }) => allowed)).toEqual([true, false])
      }
      await store.close()
      expect(left(fleet, leased)).toBe(9_999)
    },
  )

  it('skips a soft charge that does not fit; it denies no other charge', async () => {
    const fleet = openFleet()
    const [soft, hard] = [bucket({ name: 'soft', count: 2, periodMs: 60_000 }), bucket({ name: 'hard' })]
    const store = fleet.open({ units: 100 })
    const both = [charge(soft, { soft: true }), charge(hard)]
    const seen: boolean[][] = []
    for (let times = 0; times < 5; times++) {
      seen.push((await store.decide(both, COMMIT)).map(({ allowed }) => allowed))
    }
    expect(seen.filter(([first]) => first)).toHaveLength(2)
    expect(seen.filter(([, second]) => second)).toHaveLength(5)
    await store.close()
    expect(left(fleet, hard)).toBe(9_995)
  })

  it('adds up charges of the same rule and key', async () => {
    const fleet = openFleet()
    const limit = bucket({ count: 100, periodMs: 60_000 })
    const store = fleet.open({ units: 12, nodes: 1 })
    const verdicts = await store.decide([charge(limit, { cost: 5 }), charge(limit, { cost: 6 })], COMMIT)
    expect(verdicts.map(({ allowed, remaining }) => [allowed, remaining])).toEqual([
      [true, 95],
      [true, 89],
    ])
    await store.close()
    expect(left(fleet, limit)).toBe(89)
  })

  it('peeks without changing local or shared state', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100 })
    await take(store, limit)
    const before = left(fleet, limit)
    for (const [cost, remaining] of [
      [1, 9_998],
      [99, 9_900],
      [200, 9_799],
      [9_999, 0],
    ] as const) {
      for (let times = 0; times < 3; times++) {
        const [verdict] = await store.decide([charge(limit, { cost })], { commit: false })
        expect(verdict).toMatchObject({ allowed: true, remaining })
      }
    }
    const [isDenied] = await store.decide([charge(limit, { cost: 10_000 })], { commit: false })
    expect(isDenied).toMatchObject({ allowed: false, remaining: 9_999 })
    expect(left(fleet, limit)).toBe(before)
  })

  it('refunds to the lease while it has room, and the rest to the shared store', async () => {
    const fleet = openFleet()
    const limit = bucket({ periodMs: 3_600_000 })
    const store = fleet.open({ units: 100 })
    await take(store, limit, { cost: 30 })
    await store.refund([charge(limit, { cost: 10 })])
    expect(left(fleet, limit)).toBe(9_900)
    expect(await take(store, limit, { cost: 0 })).toMatchObject({ allowed: true, remaining: 9_980 })
    await store.refund([charge(limit, { cost: 1_000 })])
    // Twenty were missing here; no node holds more than a lease.
    expect(left(fleet, limit)).toBe(10_000)
    expect(await take(store, limit, { cost: 0 })).toMatchObject({ remaining: 10_000 })
    await store.close()
    expect(left(fleet, limit)).toBe(10_000)
  })

  it('forgets locally and in the shared store', async () => {
    const fleet = openFleet()
    const limit = bucket({ periodMs: 3_600_000 })
    const store = fleet.open({ units: 100 })
    for (const key of ['a', 'b']) await take(store, limit, { key })
    expect(await store.forget({ rule: 'rule', key: 'a' })).toBe(1)
    expect(await store.health()).toMatchObject({ leases: { keys: 1 } })
    expect(left(fleet, limit, 'a')).toBe(10_000)
    expect(left(fleet, limit, 'b')).toBe(9_900)
    expect(await store.forget({})).toBe(1)
    expect(await store.health()).toMatchObject({ keys: 0, leases: { keys: 0 } })
  })

  it('ends the leases of a changed limit and returns their units', async () => {
    const fleet = openFleet()
    const store = fleet.open({ units: 100 })
    await take(store, bucket({ periodMs: 86_400_000 }))
    const changed = bucket({ periodMs: 86_400_000, count: 5_000 })
    expect(store.decide([charge(changed)], COMMIT)).toBeInstanceOf(Promise)
    await fleet.clock.advanceAsync(3_000)
    expect(await store.health()).toMatchObject({ leases: { keys: 0 } })
    expect(left(fleet, changed)).toBe(4_998)
    // The same numbers in another object are no change.
    await take(store, bucket({ periodMs: 86_400_000, count: 5_000 }))
    expect(store.decide([charge(bucket({ periodMs: 86_400_000, count: 5_000 }))], COMMIT)).not.toBeInstanceOf(
      Promise,
    )
  })

  it('reports its leases in its health', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100 })
    await take(store, limit)
    expect(await store.health()).toEqual({
      ok: true,
      keys: 1,
      evictions: 0,
      overflows: 0,
      leases: { keys: 1, evictions: 0, asked: 1, refused: 0, failed: 0, grantedUnits: 100, returnedUnits: 0 },
    })
  })

  it.each([
    [{ units: 0 }, /units: 0 is not allowed/],
    [{ units: 1.5 }, /units/],
    [{ ttlMs: 0 }, /ttlMs/],
    [{ spanMs: 0 }, /spanMs/],
    [{ nodes: -1 }, /nodes/],
    [{ tolerance: 2 }, /tolerance: 2 is not a fraction/],
  ])('rejects %o', (options, message) => {
    expect(() => openFleet().open(options)).toThrow(message)
  })
})
