import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { SqliteStore } from '../../../../src/stores/sqlite/index.ts'
import type { StoreEvent } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { connect, DRIVERS, MAIN_DRIVER } from './drivers.ts'
import { charge, makeLimit, newFile, open, remaining } from './harness.ts'

const MINUTE_MS = 60_000

describe.each(DRIVERS)('a rule with more keys than it may keep, with %s', driver => {
  it('removes full keys first, and counts no eviction for them', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock, maxKeysPerRule: 4 }, driver)
    const limit = makeLimit()
    for (const key of ['a', 'b', 'c', 'd']) await charge(store, limit, key)
    clock.set(clock.now() + MINUTE_MS)
    for (const key of ['a', 'c', 'd']) await charge(store, limit, key)
    await charge(store, limit, 'e')
    expect(await store.health()).toMatchObject({ keys: 4, evictions: 0, overflows: 0 })
    for (const key of ['a', 'c', 'd', 'e']) expect(await remaining(store, limit, key)).toBe(2)
  })

  it('counts on if a rule is swept between two decisions of one transaction', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock }, driver)
    const limit = makeLimit()
    await charge(store, limit)
    clock.set(clock.now() + MINUTE_MS - 1_000)
    store.adopt([limit], clock.now())
    clock.advance(1_000)
    expect((await charge(store, limit)).remaining).toBe(2)
    expect((await charge(store, limit)).remaining).toBe(1)
  })

  it('then evicts the one nearest to full, and reports it', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock, maxKeysPerRule: 4 }, driver)
    const events: StoreEvent[] = []
    const unwatch = store.watch(event => events.push(event))
    const limit = makeLimit()
    for (const key of ['a', 'b', 'c', 'd']) await charge(store, limit, key, key === 'c' ? 1 : 2)
    await charge(store, limit, 'e')
    expect(await store.health()).toMatchObject({ keys: 4, evictions: 1, overflows: 0 })
    expect(await remaining(store, limit, 'c')).toBe(3)
    expect(await remaining(store, limit, 'b')).toBe(1)
    expect(events).toEqual([{ kind: 'table_full', rule: 'rule', keys: 3, evictions: 1, overflows: 0 }])
    unwatch()
  })

  it('never evicts one that refuses: if all do, new keys share one counter', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock, maxKeysPerRule: 3 }, driver)
    const limit = makeLimit()
    for (const key of ['a', 'b', 'c']) await charge(store, limit, key, 3)
    const newcomers: boolean[] = []
    for (const key of ['d', 'e', 'f', 'g']) newcomers.push((await charge(store, limit, key)).allowed)
    expect(newcomers).toEqual([true, true, true, false])
    for (const key of ['a', 'b', 'c']) expect((await charge(store, limit, key)).allowed).toBe(false)
    expect(await store.health()).toMatchObject({ keys: 3, evictions: 0, overflows: 4 })
  })

  it('never evicts one that refused a larger cost, even if a single unit would fit', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock, maxKeysPerRule: 2 }, driver)
    const limit = makeLimit()
    await charge(store, limit, 'a')
    expect((await charge(store, limit, 'a', 3)).allowed).toBe(false)
    await charge(store, limit, 'b', 2)
    await charge(store, limit, 'c')
    expect(await remaining(store, limit, 'a')).toBe(2)
    expect(await remaining(store, limit, 'b')).toBe(3)
  })

  it('many refusing keys are skipped a few at a time, and those that share a counter are limited', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock, maxKeysPerRule: 2 * MAX_SIZES.evictionProbe + 1 }, driver)
    const limit = makeLimit()
    for (let index = 0; index < 2 * MAX_SIZES.evictionProbe; index++)
      await charge(store, limit, `a${index}`, 3)
    await charge(store, limit, 'z')
    for (const key of ['m1', 'm2', 'm3']) await charge(store, limit, key)
    expect(await store.health()).toMatchObject({ evictions: 1, overflows: 2 })
    expect(await remaining(store, limit, 'z')).toBe(3)
    expect(await remaining(store, limit, 'm3')).toBe(2)
  })

  it('supports keys of any bytes', async () => {
    const clock = new FakeClock()
    const store = await open(newFile(), { clock, maxKeysPerRule: 3 }, driver)
    const limit = makeLimit()
    const strange = ['\ud83d', 'a\u0000b', 'k'.repeat(60_000), '\udc00', 'a\u0000c']
    for (const key of strange) expect((await charge(store, limit, key)).remaining).toBe(2)
    expect(await store.health()).toMatchObject({ keys: 3, evictions: 2 })
    clock.set(clock.now() + MINUTE_MS)
    await clock.advanceAsync(1_000)
    expect(await store.health()).toMatchObject({ keys: 0 })
  })
})

it('a rule with large logs keeps fewer keys, as in memory', async () => {
  const clock = new FakeClock()
  const store = await open(newFile(), { clock, maxKeysPerRule: 2_000 })
  const limit = makeLimit({ algorithm: 'sliding-log', count: 10_000 })
  const maxKeys = Math.floor(MAX_SIZES.logEntriesPerRule / 10_000)
  await Promise.all(Array.from({ length: maxKeys + 5 }, (_, index) => charge(store, limit, `${index}`)))
  expect(await store.health()).toMatchObject({ keys: maxKeys, evictions: 5 })
})

describe('the sweep', () => {
  it('removes full keys a slice at a time, then rules without keys, and keeps the rest', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const store = await open(path, { clock })
    const [short, long] = [
      makeLimit({ name: 'short' }),
      makeLimit({ name: 'long', periodMs: 10 * MINUTE_MS }),
    ]
    const count = 2 * MAX_SIZES.sqliteSweep + 10
    await Promise.all(
      Array.from({ length: count }, (_, index) => charge(store, index < 5 ? long : short, `${index}`)),
    )
    clock.set(clock.now() + MINUTE_MS)
    await clock.advanceAsync(1_000)
    expect((await store.health()).keys).toBe(count - (MAX_SIZES.sqliteSweep - 5))
    await clock.advanceAsync(2_000)
    expect(await store.health()).toMatchObject({ keys: 5 })
    const database = connect(MAIN_DRIVER, path)
    expect(database.prepare('SELECT name, keys FROM rule').all()).toEqual([{ name: 'long', keys: 5 }])
    database.close()
    expect(await remaining(store, long, '3')).toBe(2)
    expect(clock.pending).toBe(1)
    await store.close()
    expect(clock.pending).toBe(0)
  })

  it('removes forgotten keys even if not full, and no later ones', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const store = await open(path, { clock })
    const limit = makeLimit()
    await Promise.all(Array.from({ length: 1_000 }, (_, index) => charge(store, limit, `${index}`)))
    expect(await store.forget({ rule: 'rule' })).toBe(1_000)
    expect((await charge(store, limit, '7')).remaining).toBe(2)
    expect((await store.health()).keys).toBe(1)
    await clock.advanceAsync(4_000)
    const database = connect(MAIN_DRIVER, path)
    expect(database.prepare('SELECT count(*) AS count FROM state').get()).toEqual({ count: 1 })
    expect(database.prepare('SELECT name, keys FROM rule').all()).toEqual([{ name: 'rule', keys: 1 }])
    database.close()
    expect(await remaining(store, limit, '7')).toBe(2)
  })

  it('continues after an outage', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const store = await open(path, { clock, lockWaitMs: 10 })
    await charge(store, makeLimit())
    clock.set(clock.now() + MINUTE_MS)
    const other = connect(MAIN_DRIVER, path)
    other.exec('BEGIN IMMEDIATE')
    await clock.advanceAsync(1_500)
    expect((await store.health()).keys).toBe(1)
    other.exec('COMMIT')
    other.close()
    await clock.advanceAsync(1_500)
    expect((await store.health()).keys).toBe(0)
  })
})

it('one key is forgotten under every rule, and health reports sizes', async () => {
  const store = await open(newFile(), { clock: new FakeClock() })
  const limits = ['one', 'other', '\ud83d'].map(name => makeLimit({ name }))
  for (const limit of limits) for (const key of ['a', 'b']) await charge(store, limit, key)
  expect(await store.forget({ key: 'a' })).toBe(3)
  expect(await store.health()).toMatchObject({
    keys: 3,
    detail: expect.stringMatching(/^SQLite 3\.\d+\.\d+, \d{4,} bytes, log of \d{4,} bytes$/),
  })
  for (const limit of limits) expect(await remaining(store, limit, 'a')).toBe(3)
  for (const limit of limits) expect(await remaining(store, limit, 'b')).toBe(2)
})

it('peeking writes nothing, and refusals of a flood write nothing', async () => {
  const database = connect(MAIN_DRIVER, newFile())
  const store = new SqliteStore({ database, clock: new FakeClock() })
  const changes = (): unknown => database.prepare('SELECT total_changes() AS count').get()
  const limit = makeLimit()
  const before = changes()
  for (const key of ['a', 'b']) expect(await remaining(store, limit, key)).toBe(3)
  expect(changes()).toEqual(before)
  await charge(store, limit, 'a', 3)
  const spent = changes()
  const flood = await Promise.all(Array.from({ length: 500 }, () => charge(store, limit, 'a')))
  expect(flood.some(({ allowed }) => allowed)).toBe(false)
  expect(await remaining(store, limit, 'a')).toBe(0)
  expect(changes()).toEqual(spent)
  await store.close()
  database.close()
})
