import { describe, expect, it } from 'vitest'
import { bucket, charge, openFleet, take } from './nodes.ts'

const COMMIT = { commit: true } as const

describe('a lease in hand', () => {
  it('is found by its key and by its slot, and its units are spent once', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100 })
    expect(store.findLease(limit, 'k')).toBeUndefined()
    await take(store, limit)
    const lease = store.findLease(limit, 'k')!
    expect(store.leaseAt(lease.slot, lease.generation)).toBe(lease)
    store.spendLease(lease, 10, fleet.clock.now())
    expect(store.decide([charge(limit)], COMMIT)).toMatchObject([{ allowed: true, remaining: 10_000 - 12 }])
  })

  it('is not found by its slot once it has ended, although another key has the slot', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100 })
    await take(store, limit)
    const { slot, generation } = store.findLease(limit, 'k')!
    await store.forget({ key: 'k' })
    expect(store.leaseAt(slot, generation)).toBeUndefined()
    await take(store, limit, { key: 'other' })
    expect(store.findLease(limit, 'other')).toMatchObject({ slot })
    expect(store.leaseAt(slot, generation)).toBeUndefined()
  })

  it('is not found by its slot once its limit has changed', async () => {
    const fleet = openFleet()
    const store = fleet.open({ units: 100 })
    const limit = bucket()
    await take(store, limit)
    const { slot, generation } = store.findLease(limit, 'k')!
    expect(store.findLease(bucket({ count: 5_000 }), 'k')).toBeUndefined()
    expect(store.leaseAt(slot, generation)).toBeUndefined()
  })

  it('has a slot that is used again, so that slots do not outgrow the leases', async () => {
    const fleet = openFleet()
    const limit = bucket()
    const store = fleet.open({ units: 100, maxLeases: 4 })
    const slots = new Set<number>()
    for (let key = 0; key < 50; key++) {
      await take(store, limit, { key: `k${key}` })
      slots.add(store.findLease(limit, `k${key}`)!.slot)
    }
    expect([...slots].sort()).toEqual([0, 1, 2, 3])
  })
})
