import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { SqliteStore } from '../../../../src/stores/sqlite/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { connect, DRIVERS, MAIN_DRIVER } from './drivers.ts'
import { charge, makeLimit, newFile, open, remaining } from './harness.ts'

describe.each(DRIVERS)('a lock that another connection holds, with %s', driver => {
  it('is waited for without blocking, and nothing is lost', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const store = await open(path, { clock }, driver)
    const other = connect(driver, path)
    other.exec('BEGIN IMMEDIATE')
    const limit = makeLimit({ count: 500 })
    const asked = Array.from({ length: 200 }, () => charge(store, limit))
    const startMs = performance.now()
    await clock.advanceAsync(50)
    // Ten attempts of at most 5 ms each; a busy wait would have taken the second of a default.
    expect(performance.now() - startMs).toBeLessThan(10_000)
    other.exec('COMMIT')
    other.close()
    await clock.advanceAsync(5)
    expect((await Promise.all(asked)).filter(({ allowed }) => allowed)).toHaveLength(200)
    expect(await remaining(store, limit)).toBe(300)
  })

  it('that stays is a StoreError after the longest wait, and the store continues afterwards', async () => {
    const clock = new FakeClock()
    const path = newFile()
    const store = await open(path, { clock, lockWaitMs: 100 }, driver)
    const limit = makeLimit({ count: 10 })
    await charge(store, limit)
    const other = connect(driver, path)
    other.exec('BEGIN IMMEDIATE')
    const refused = expect(charge(store, limit)).rejects.toThrow(/SQLITE_BUSY.*another connection holds/s)
    await clock.advanceAsync(110)
    await refused
    // Meanwhile new work is tried once and rejected at once.
    await expect(charge(store, limit)).rejects.toThrow(StoreError)
    // Reading needs no lock.
    expect(await remaining(store, limit)).toBe(9)
    other.exec('COMMIT')
    other.close()
    expect((await charge(store, limit)).remaining).toBe(8)
    expect(clock.pending).toBe(1)
  })
})

it.each(DRIVERS)('a full disk rolls the whole batch back, and the store continues, with %s', async driver => {
  const clock = new FakeClock()
  const database = connect(driver, newFile())
  const store = new SqliteStore({ database, clock })
  const limit = makeLimit()
  await charge(store, limit, 'known')
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as { page_count: number }
  database.exec(`PRAGMA max_page_count = ${pages}`)
  const keys = Array.from({ length: 60 }, (_, index) => `${index} ${'k'.repeat(500)}`)
  const settled = await Promise.allSettled(['known', ...keys].map(key => charge(store, limit, key)))
  const words = settled.map(one => (one.status === 'rejected' ? String(one.reason) : 'no error'))
  expect(words.filter(text => /StoreError: .*SQLITE_FULL.*make room on the disk/.test(text))).toHaveLength(61)
  expect(await remaining(store, limit, 'known')).toBe(2)
  expect(await store.health()).toMatchObject({ ok: true, keys: 1 })
  database.exec('PRAGMA max_page_count = 1000000')
  expect((await charge(store, limit, keys[0])).remaining).toBe(2)
  await store.close()
  database.close()
})

it('a damaged file is a StoreError, never a denial', async () => {
  const clock = new FakeClock()
  const database = connect(MAIN_DRIVER, newFile())
  const store = new SqliteStore({ database, clock })
  await charge(store, makeLimit())
  database.exec('DROP TABLE state')
  await expect(charge(store, makeLimit())).rejects.toThrow(StoreError)
  const health = await store.health()
  expect(health.ok).toBe(true)
  database.close()
  await expect(charge(store, makeLimit())).rejects.toThrow(StoreError)
  expect((await store.health()).ok).toBe(false)
  await store.close()
})

it('a bounded number of decisions wait; further ones are rejected, not denied', async () => {
  const clock = new FakeClock()
  const path = newFile()
  const store = await open(path, { clock })
  const other = connect(MAIN_DRIVER, path)
  other.exec('BEGIN IMMEDIATE')
  const limit = makeLimit({ count: 1_000_000 })
  const asked = Array.from({ length: MAX_SIZES.sqlitePending + 3 }, () => charge(store, limit))
  const settled = Promise.allSettled(asked)
  other.exec('COMMIT')
  other.close()
  const broken = (await settled).filter(({ status }) => status === 'rejected')
  expect(broken).toHaveLength(3)
  expect(await remaining(store, limit)).toBe(1_000_000 - MAX_SIZES.sqlitePending)
})

it('a transaction holds a bounded number of decisions', async () => {
  const clock = new FakeClock()
  const database = connect(MAIN_DRIVER, ':memory:')
  let commits = 0
  const counting = {
    prepare: database.prepare.bind(database),
    close: database.close.bind(database),
    exec(sql: string): unknown {
      if (sql === 'COMMIT') commits++
      return database.exec(sql)
    },
  }
  const store = new SqliteStore({ database: counting, clock })
  const migrating = commits
  const limit = makeLimit({ count: 1_000 })
  await Promise.all(Array.from({ length: 2 * MAX_SIZES.sqliteBatch + 1 }, () => charge(store, limit)))
  expect(commits - migrating).toBe(3)
  await store.close()
  database.close()
})
