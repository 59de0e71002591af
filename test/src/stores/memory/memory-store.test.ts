import { describe, expect, it } from 'vitest'
import { createLimit, type LimitSpec } from '../../../../src/algorithms/index.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { KeySlotIndex } from '../../../../src/stores/memory/key-slot-index.ts'
import { KeyTable, OVERFLOW_SLOT } from '../../../../src/stores/memory/key-table.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'
import { SlotKeys } from '../../../../src/stores/memory/slot-keys.ts'
import type { Charge } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { random } from '../../../support/random.ts'

function limitOf(more: Partial<LimitSpec> = {}): ReturnType<typeof createLimit> {
  return createLimit({ name: 'rule', algorithm: 'token-bucket', count: 2, periodMs: 1_000, ...more })
}

function charge(limit: ReturnType<typeof createLimit>, key: string, cost = 1): Charge {
  return { limit, key, cost }
}

function holds(table: KeyTable, slot: number, generation: number): boolean {
  return table.records.isOf(slot, generation)
}

describe('keys of a bucket that starts below full', () => {
  it('stay when they are full again, up to the bound; then a full one is removed and starts anew', async () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock, maxKeysPerRule: 100 })
    const limit = limitOf({ initial: 0 })
    const take = (key: string) => store.decide([charge(limit, key)], { commit: true })[0]!
    for (let index = 0; index < 100; index++) take(`${index}`)
    clock.advance(3_600_000)
    expect(store.health()).toMatchObject({ keys: 100, evictions: 0 })
    expect(take('7')).toMatchObject({ allowed: true, remaining: 1 })
    expect(take('a hundred and first')).toMatchObject({ allowed: false, retryAfterMs: 500 })
    expect(store.health()).toMatchObject({ keys: 100, evictions: 0 })
    const known = Array.from({ length: 100 }, (_, index) => `${index}`).filter(key => {
      return store.decide([charge(limit, key)], { commit: false })[0]!.allowed
    })
    expect(known).toHaveLength(99)
    await store.close()
  })
})

describe('the index of keys', () => {
  it('finds the same as a Map, through growth, splitting and removal', () => {
    const keys = new SlotKeys()
    const index = new KeySlotIndex(keys)
    const model = new Map<string, number>()
    const chance = random(7)
    for (let step = 0; step < 60_000; step++) {
      const key = `key-${chance.int(0, 15_000)}`
      const slot = model.get(key)
      expect(index.find(key)).toBe(slot ?? -1)
      if (slot === undefined) {
        const fresh = keys.length
        keys.set(fresh, key)
        index.add(key, fresh)
        model.set(key, fresh)
      } else if (chance.int(0, 2) === 0) {
        index.remove(key)
        model.delete(key)
        keys.set(slot, undefined)
      }
    }
    for (const [key, slot] of model) expect(index.find(key)).toBe(slot)
    expect(model.size).toBeGreaterThan(5_000)
  })

  it('distinguishes the empty key, long keys and keys that differ in one bit', () => {
    const all = [
      '',
      'a',
      'b',
      '\u0000',
      'x'.repeat(70_000),
      `${'x'.repeat(69_999)}y`,
      '__proto__',
      '😀',
      '\ud83d',
    ]
    const keys = new SlotKeys()
    const index = new KeySlotIndex(keys)
    all.forEach((key, slot) => {
      keys.set(slot, key)
      index.add(key, slot)
    })
    all.forEach((key, slot) => {
      expect(index.find(key)).toBe(slot)
    })
  })
})

describe('a full table', () => {
  it('evicts expired keys first, then the one nearest to full', () => {
    const store = new MemoryStore({ clock: new FakeClock(0), maxKeysPerRule: 3 })
    const limit = limitOf({ count: 10 })
    store.decide([charge(limit, 'expired')], { commit: true, nowMs: 1_000 })
    store.decide([charge(limit, 'half', 5)], { commit: true, nowMs: 2_000 })
    store.decide([charge(limit, 'little', 2)], { commit: true, nowMs: 2_000 })
    store.decide([charge(limit, 'new-1', 9)], { commit: true, nowMs: 2_000 })
    const table = store.table(limit)
    expect([...'x'].map(() => table.find('expired'))).toEqual([-1])
    expect(table.evictions, 'an expired key is no eviction').toBe(0)
    store.decide([charge(limit, 'new-2', 9)], { commit: true, nowMs: 2_000 })
    expect(table.find('little')).toBe(-1)
    expect(table.find('half')).toBeGreaterThan(0)
    expect(table.evictions).toBe(1)
  })

  it('never evicts a key that refuses, or that would refuse one unit', () => {
    const clock = new FakeClock(5_000)
    const store = new MemoryStore({ clock, maxKeysPerRule: 64 })
    const limit = limitOf({ count: 4, periodMs: 60_000 })
    for (let key = 0; key < 8; key++) {
      store.decide([charge(limit, `spent-${key}`, 4)], { commit: true })
      store.decide([charge(limit, `costly-${key}`, 2)], { commit: true })
      expect(store.decide([charge(limit, `costly-${key}`, 3)], { commit: true })[0]?.allowed).toBe(false)
    }
    for (let stranger = 0; stranger < 20_000; stranger++) {
      store.decide([charge(limit, `stranger-${stranger}`)], { commit: true })
    }
    for (let key = 0; key < 8; key++) {
      expect(store.decide([charge(limit, `spent-${key}`)], { commit: false })[0]?.allowed).toBe(false)
      expect(store.decide([charge(limit, `costly-${key}`, 3)], { commit: false })[0]?.allowed).toBe(false)
    }
    expect(store.health()).toMatchObject({ keys: 64 })
  })

  it('lets new clients share one counter while every key refuses', () => {
    const store = new MemoryStore({ clock: new FakeClock(0), maxKeysPerRule: 2 })
    const limit = limitOf({ count: 1, periodMs: 60_000 })
    for (const key of ['a', 'b']) store.decide([charge(limit, key)], { commit: true, nowMs: 1_000 })
    const allowed = Array.from(
      { length: 50 },
      (_, index) => store.decide([charge(limit, `new-${index}`)], { commit: true, nowMs: 1_000 })[0]?.allowed,
    )
    expect(allowed.filter(Boolean)).toHaveLength(1)
    expect(store.health()).toMatchObject({ keys: 2, overflows: 50, evictions: 0 })
  })

  it('stays within the bound of keys per rule', () => {
    const table = new KeyTable(limitOf(), MAX_SIZES.keysPerRule)
    for (let key = 0; key < MAX_SIZES.keysPerRule + 5_000; key++) table.acquire(`k${key}`, 1)
    expect(table.size).toBe(MAX_SIZES.keysPerRule)
  })

  it('keeps fewer keys of a sliding log, so that its entries stay within their bound', () => {
    const table = new KeyTable(
      limitOf({ algorithm: 'sliding-log', count: MAX_SIZES.logEntries }),
      MAX_SIZES.keysPerRule,
    )
    expect(table.maxKeys * MAX_SIZES.logEntries).toBeLessThanOrEqual(MAX_SIZES.logEntriesPerRule)
  })
})

describe('slots', () => {
  it('given to another key are detected by holders of stale references', () => {
    const table = new KeyTable(limitOf(), 10)
    const slot = table.acquire('a', 0)
    const generation = table.generationOf(slot)
    expect(holds(table, slot, generation)).toBe(true)
    table.forget('a')
    expect(holds(table, slot, generation)).toBe(false)
    expect(table.acquire('b', 0)).toBe(slot)
    expect(holds(table, slot, generation)).toBe(false)
    expect(
      holds(table, OVERFLOW_SLOT, table.generationOf(OVERFLOW_SLOT)),
      'the shared counter is never kept',
    ).toBe(false)
  })

  it('stay void after the table was cleared', () => {
    const table = new KeyTable(limitOf(), 10_000)
    const kept = Array.from({ length: 5_000 }, (_, index) => {
      const slot = table.acquire(`a${index}`, 0)
      return [slot, table.generationOf(slot)] as const
    })
    table.clear()
    for (let index = 0; index < 5_000; index++) table.acquire(`b${index}`, 0)
    expect(kept.some(([slot, generation]) => holds(table, slot, generation))).toBe(false)
  })
})

describe('idle keys', () => {
  it.each(['token-bucket', 'leaky-bucket', 'fixed-window', 'sliding-log', 'sliding-counter'] as const)(
    'of a %s go by themselves',
    algorithm => {
      const clock = new FakeClock(10_000)
      const store = new MemoryStore({ clock })
      const limit = limitOf({ algorithm })
      for (let key = 0; key < 10_000; key++) store.decide([charge(limit, `k${key}`)], { commit: true })
      expect(store.health().keys).toBe(10_000)
      for (let second = 0; second < 60; second++) clock.advance(1_000)
      expect(store.health().keys).toBe(0)
    },
  )

  it('are swept a few at a time', () => {
    const clock = new FakeClock(0)
    const store = new MemoryStore({ clock })
    const limit = limitOf()
    const keys = 3 * MAX_SIZES.sweepSlice
    for (let key = 0; key < keys; key++) store.decide([charge(limit, `k${key}`)], { commit: true })
    clock.advance(1_000)
    expect(store.health().keys).toBeGreaterThanOrEqual(keys - MAX_SIZES.sweepSlice)
  })

  it('stay longer with longer sweeps, and go by themselves', () => {
    const clock = new FakeClock(0)
    const store = new MemoryStore({ clock, sweepMs: 3_600_000 })
    const limit = limitOf()
    for (let key = 0; key < 10_000; key++) store.decide([charge(limit, `k${key}`)], { commit: true })
    clock.advance(60_000)
    expect(store.health().keys).toBe(10_000)
    clock.advance(3_600_000)
    expect(store.health().keys).toBe(0)
  })

  it('expire in time among many rules, one of them large', () => {
    const clock = new FakeClock(0)
    const store = new MemoryStore({ clock })
    const rules = Array.from({ length: 3_000 }, (_, index) => limitOf({ name: `rule-${index}` }))
    for (const rule of rules) store.decide([charge(rule, 'k')], { commit: true })
    for (let key = 0; key < 50_000; key++) store.decide([charge(rules[7]!, `k${key}`)], { commit: true })
    expect(store.health().keys).toBe(rules.length + 50_000)
    clock.advance(60_000)
    expect(store.health().keys).toBe(0)
  })

  it('leave no timer behind when the store closes', async () => {
    const clock = new FakeClock(0)
    const store = new MemoryStore({ clock })
    store.decide([charge(limitOf(), 'k')], { commit: true })
    expect(clock.pending).toBe(1)
    await store.close()
    expect(clock.pending).toBe(0)
  })
})

describe('a changed limit of the same name', () => {
  it('keeps used units and mints no more than the difference of the capacities', () => {
    const store = new MemoryStore({ clock: new FakeClock(50_000) })
    const before = limitOf({ count: 10, periodMs: 60_000 })
    store.decide([charge(before, 'k', 8)], { commit: true })
    const more = limitOf({ count: 15, periodMs: 60_000 })
    expect(store.decide([charge(more, 'k', 0)], { commit: true })[0]?.remaining).toBe(7)
    const fewer = limitOf({ count: 3, periodMs: 60_000 })
    expect(store.decide([charge(fewer, 'k', 1)], { commit: true })[0]?.allowed).toBe(false)
  })

  it.each(['leaky-bucket', 'fixed-window', 'sliding-log', 'sliding-counter', 'token-bucket'] as const)(
    'carries its keys over to a %s',
    algorithm => {
      const store = new MemoryStore({ clock: new FakeClock(30_000) })
      const before = limitOf({ count: 10, periodMs: 60_000 })
      for (let key = 0; key < 100; key++) store.decide([charge(before, `k${key}`, 10)], { commit: true })
      const after = limitOf({ algorithm, count: 10, periodMs: 120_000 })
      for (let key = 0; key < 100; key++) {
        expect(store.decide([charge(after, `k${key}`)], { commit: true })[0]?.allowed).toBe(false)
      }
    },
  )
})

describe('refunds', () => {
  it('return what was taken and never raise a key above full', () => {
    const store = new MemoryStore({ clock: new FakeClock(0) })
    const limit = limitOf({ count: 5, periodMs: 60_000 })
    store.decide([charge(limit, 'k', 4)], { commit: true })
    store.refund([charge(limit, 'k', 4)])
    store.refund([charge(limit, 'k', 4)])
    expect(store.decide([charge(limit, 'k', 5)], { commit: true })[0]).toMatchObject({
      allowed: true,
      remaining: 0,
    })
  })
})
