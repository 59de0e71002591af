import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { LeasedStore } from '../../../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { bucket, charge, left, openFleet, take } from './nodes.ts'

const COMMIT = { commit: true } as const
/** Practically nothing refills while a test runs. */
const SLOW = { periodMs: 86_400_000 }

describe('unused units', () => {
  it('are returned when a lease ends, at most an eighth of its ttl later', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const store = fleet.open({ units: 100, ttlMs: 800 })
    await take(store, limit, { cost: 3 })
    await fleet.clock.advanceAsync(799)
    expect(left(fleet, limit)).toBe(9_900)
    await fleet.clock.advanceAsync(101)
    expect(left(fleet, limit)).toBe(9_997)
    // Expired units are never spent, even if no tick has processed them.
    await take(store, limit)
    fleet.clock.set(fleet.clock.now() + 800)
    expect(store.decide([charge(limit)], COMMIT)).toBeInstanceOf(Promise)
  })

  it('are returned by age: units renewed later last longer', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const store = fleet.open({ units: 100, ttlMs: 800 })
    await take(store, limit)
    await fleet.clock.advanceAsync(400)
    // Half of the lease is spent: as much is requested again, and 49 of the first are left.
    for (let times = 0; times < 50; times++) await take(store, limit)
    await fleet.clock.advanceAsync(8)
    expect(left(fleet, limit)).toBe(10_000 - 51 - 100)
    await fleet.clock.advanceAsync(500)
    expect(left(fleet, limit)).toBe(10_000 - 51 - 51)
    expect(store.decide([charge(limit)], COMMIT)).not.toBeInstanceOf(Promise)
    await fleet.clock.advanceAsync(400)
    expect(left(fleet, limit)).toBe(10_000 - 52)
  })

  it('are all returned on close, and no timer is left', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const store = fleet.open({ units: 100 })
    for (let key = 0; key < 50; key++) await take(store, limit, { key: `${key}` })
    const idle = fleet.clock.pending
    await store.close()
    for (let key = 0; key < 50; key++) expect(left(fleet, limit, `${key}`)).toBe(9_999)
    expect(fleet.clock.pending).toBe(idle - 1)
  })

  it('are returned at once if the lease they were requested for has ended', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const store = fleet.open({ units: 100 })
    const waiting = take(store, limit)
    await store.close()
    expect((await waiting).allowed).toBe(true)
    expect(left(fleet, limit)).toBe(9_999)
  })

  it('stay within one bound of keys: the lease that would end first is returned', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const store = fleet.open({ units: 100, maxLeases: 10 })
    for (let key = 0; key < 25; key++) {
      expect((await take(store, limit, { key: `${key}` })).allowed).toBe(true)
      await fleet.clock.advanceAsync(1)
    }
    expect(await store.health()).toMatchObject({ leases: { keys: 10, evictions: 15 } })
    const whole = Array.from({ length: 25 }, (_, key) => left(fleet, limit, `${key}`)).filter(
      units => units === 9_999,
    )
    expect(whole).toHaveLength(15)
  })

  it(`of many clients stay within ${MAX_SIZES.leases} keys`, async () => {
    const clock = new FakeClock()
    const limit = bucket(SLOW)
    const store = new LeasedStore({ store: new MemoryStore({ clock }), clock, units: 100 })
    for (let key = 0; key < MAX_SIZES.leases + 100; key++) await take(store, limit, { key: `${key}` })
    expect(await store.health()).toMatchObject({ leases: { keys: MAX_SIZES.leases, evictions: 100 } })
    await store.close()
  })

  it('of a window are dropped when it is about to end: in the next they would be too many', async () => {
    const fleet = openFleet(1_700_000_000_000)
    const limit = bucket({ algorithm: 'fixed-window', count: 1_000, periodMs: 1_000 })
    const store = fleet.open({ units: 100 })
    await take(store, limit)
    await fleet.clock.advanceAsync(999)
    await store.close()
    expect(left(fleet, limit)).toBe(900)
    await fleet.clock.advanceAsync(1)
    expect(left(fleet, limit)).toBe(1_000)
  })

  it('expire if the clock is set back to before their start', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const store = fleet.open({ units: 100 })
    await take(store, limit)
    fleet.clock.set(fleet.clock.now() - 3_600_000)
    expect(store.decide([charge(limit)], COMMIT)).toBeInstanceOf(Promise)
  })
})

describe('a refusal of the shared store', () => {
  it('is cached for its wait: the node refuses locally and asks again afterwards', async () => {
    const fleet = openFleet()
    const limit = bucket({ count: 10, periodMs: 10_000 })
    const store = fleet.open({ ttlMs: 5_000 })
    for (let times = 0; times < 10; times++) expect((await take(store, limit)).allowed).toBe(true)
    expect(await take(store, limit)).toMatchObject({ allowed: false, retryAfterMs: 1_000, remaining: 0 })
    const before = fleet.calls.decide
    fleet.clock.advance(400)
    for (let times = 0; times < 100; times++) {
      const verdicts = store.decide([charge(limit)], COMMIT)
      expect(verdicts).toMatchObject([{ allowed: false, retryAfterMs: 600 }])
    }
    expect(fleet.calls.decide).toBe(before)
    fleet.clock.advance(600)
    expect((await take(store, limit)).allowed).toBe(true)
  })

  it('never blocks a cheaper cost that fits', async () => {
    const fleet = openFleet()
    const limit = bucket({ count: 10, ...SLOW })
    const store = fleet.open()
    await take(store, limit, { cost: 5 })
    expect((await take(store, limit, { cost: 6 })).allowed).toBe(false)
    expect(store.decide([charge(limit, { cost: 6 })], COMMIT)).not.toBeInstanceOf(Promise)
    expect((await take(store, limit, { cost: 5 })).allowed).toBe(true)
  })

  it('does not outlive a refund', async () => {
    const fleet = openFleet()
    const limit = bucket({ count: 10, ...SLOW })
    const store = fleet.open()
    await take(store, limit, { cost: 10 })
    expect((await take(store, limit)).allowed).toBe(false)
    await store.refund([charge(limit)])
    expect((await take(store, limit)).allowed).toBe(true)
  })

  it('is checked again after one ttl, so that units returned by other nodes are found', async () => {
    const fleet = openFleet()
    const limit = bucket({ count: 1_000, ...SLOW })
    const [idle, busy] = [fleet.open({ units: 100 }), fleet.open({ units: 100 })]
    await take(idle, limit)
    let admitted = 0
    for (let times = 0; times < 1_200; times++) if ((await take(busy, limit)).allowed) admitted++
    expect(admitted).toBe(900)
    await fleet.clock.advanceAsync(4_000)
    for (let times = 0; times < 200; times++) if ((await take(busy, limit)).allowed) admitted++
    expect(admitted).toBe(999)
  })

  it('makes a node request less, so that the last units of a limit are found', async () => {
    const fleet = openFleet()
    const limit = bucket({ count: 850, ...SLOW })
    const store = fleet.open({ units: 100 })
    let admitted = 0
    for (let times = 0; times < 1_000; times++) if ((await take(store, limit)).allowed) admitted++
    expect(admitted).toBe(850)
    expect(fleet.calls.decide).toBeLessThan(40)
  })
})

describe('an unreachable shared store', () => {
  it('loses no units: leases are spent, then the error is reported', async () => {
    const clock = openFleet().clock
    const shared = new MemoryStore({ clock })
    const limit = bucket(SLOW)
    const store = new LeasedStore({ store: shared, clock, units: 100 })
    await take(store, limit)
    await shared.close()
    for (let times = 0; times < 99; times++) {
      expect(store.decide([charge(limit)], COMMIT)).not.toBeInstanceOf(Promise)
      await Promise.resolve()
    }
    await expect(take(store, limit)).rejects.toThrow(StoreError)
    expect((await store.health()).leases.failed).toBeGreaterThan(0)
    await store.close()
  })

  it('takes nothing for a message if another of its rules cannot be checked', async () => {
    const fleet = openFleet()
    const [leased, broken] = [bucket(SLOW), bucket({ name: 'broken', algorithm: 'sliding-log', count: 5 })]
    const store = fleet.open({ units: 100 })
    await take(store, leased)
    await fleet.shared.close()
    for (let times = 0; times < 10; times++) {
      await expect(store.decide([charge(leased), charge(broken)], COMMIT)).rejects.toThrow(StoreError)
    }
    expect(await take(store, leased)).toMatchObject({ allowed: true, remaining: 9_998 })
  })

  it('leases nothing from a fallback verdict', async () => {
    const fleet = openFleet()
    const limit = bucket(SLOW)
    const shared = new MemoryStore({ clock: fleet.clock })
    const fallbackStore = {
      name: 'stand-in',
      algorithms: shared.algorithms,
      decide: (charges: Parameters<MemoryStore['decide']>[0], options: { readonly commit: boolean }) =>
        shared.decide(charges, options).map(verdict => ({ ...verdict, fallback: 'local' as const })),
      refund: (charges: Parameters<MemoryStore['refund']>[0]) => shared.refund(charges),
      forget: () => 0,
      health: () => shared.health(),
      close: () => shared.close(),
    }
    const store = new LeasedStore({ store: fallbackStore, clock: fleet.clock, units: 100 })
    for (let times = 1; times <= 3; times++) {
      expect(await take(store, limit)).toMatchObject({
        allowed: true,
        fallback: 'local',
        remaining: 10_000 - times,
      })
    }
  })
})
