import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../../src/core/errors.ts'
import { openSqlite, SqliteStore } from '../../../../src/stores/sqlite/index.ts'
import { MIGRATIONS, migrate } from '../../../../src/stores/sqlite/schema.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { connect, DRIVERS, loadDriver, MAIN_DRIVER } from './drivers.ts'
import { charge, makeLimit, newFile, open, remaining } from './harness.ts'

const clock = new FakeClock()

describe.each(DRIVERS)('the file, with %s', driver => {
  const pragma = (path: string, name: string): unknown => {
    const database = connect(driver, path)
    const row = database.prepare(`PRAGMA ${name}`).get() as Record<string, unknown>
    database.close()
    return row[name]
  }

  it('is created and migrated to the newest schema, with a write-ahead log', async () => {
    const path = newFile()
    await open(`sqlite:${path}`, { clock }, driver)
    expect(pragma(path, 'user_version')).toBe(MIGRATIONS.length)
    expect(pragma(path, 'journal_mode')).toBe('wal')
  })

  it('of an older version is migrated and keeps its content', async () => {
    const path = newFile()
    const limit = makeLimit()
    const store = await open(path, { clock }, driver)
    await charge(store, limit, 'a', 2)
    await store.close()
    const database = connect(driver, path)
    const next = [...MIGRATIONS, "ALTER TABLE rule ADD COLUMN note TEXT DEFAULT 'new'"]
    migrate(database, next)
    migrate(database, next)
    expect(database.prepare('SELECT note, keys FROM rule').get()).toMatchObject({ note: 'new', keys: 1 })
    database.close()
    expect(pragma(path, 'user_version')).toBe(MIGRATIONS.length + 1)
  })

  it('stays unchanged when a migration step fails', async () => {
    const path = newFile()
    await (await open(path, { clock }, driver)).close()
    const database = connect(driver, path)
    const broken = [...MIGRATIONS, 'CREATE TABLE extra (one)', 'CREATE TABLE rule (one)']
    expect(() => migrate(database, broken)).toThrow(/already exists/)
    database.close()
    expect(pragma(path, 'user_version')).toBe(MIGRATIONS.length)
    await open(path, { clock }, driver)
  })

  it('of a newer version is rejected, and so is one of another program', async () => {
    const newer = newFile()
    await (await open(newer, { clock }, driver)).close()
    const database = connect(driver, newer)
    database.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`)
    database.close()
    await expect(open(newer, { clock }, driver)).rejects.toThrow(
      `schema version ${MIGRATIONS.length + 1}; this topicgate supports up to ${MIGRATIONS.length} (update topicgate`,
    )
    const foreign = newFile()
    const other = connect(driver, foreign)
    other.exec('CREATE TABLE invoice (id INTEGER)')
    other.close()
    await expect(open(foreign, { clock }, driver)).rejects.toThrow('use a separate file for topicgate')
    expect(pragma(foreign, 'journal_mode')).toBe('delete')
  })

  it('that is not a database, or in a missing folder, is a StoreError with the remedy', async () => {
    const path = newFile()
    writeFileSync(path, 'not a database, but long enough to look like one '.repeat(100))
    await expect(open(path, { clock }, driver)).rejects.toThrow(/SQLITE_NOTADB.*name another file/s)
    const nowhere = open(`${newFile()}/there/limits.db`, { clock }, driver)
    await expect(nowhere).rejects.toThrow(StoreError)
    await expect(open('sqlite:', { clock }, driver)).rejects.toThrow('write sqlite:./limits.db')
  })

  it('receives the log every ten seconds, however little was written', async () => {
    const path = newFile()
    const ticking = new FakeClock()
    const store = await open(path, { clock: ticking }, driver)
    const before = readFileSync(path)
    await charge(store, makeLimit())
    await ticking.advanceAsync(9_000)
    expect(readFileSync(path).equals(before)).toBe(true)
    await ticking.advanceAsync(2_000)
    expect(readFileSync(path).equals(before)).toBe(false)
  })

  it('is merged with its log by close, which first answers pending decisions', async () => {
    const path = newFile()
    const limit = makeLimit({ count: 1_000 })
    const store = await open(path, { clock }, driver)
    const asked = Array.from({ length: 300 }, () => charge(store, limit))
    await store.close()
    expect((await Promise.all(asked)).filter(({ allowed }) => allowed)).toHaveLength(300)
    const log = `${path}-wal`
    expect(existsSync(log) ? statSync(log).size : 0).toBe(0)
    await expect(charge(store, limit)).rejects.toThrow('the SQLite store is closed')
    await expect(store.close()).resolves.toBeUndefined()
    expect(await remaining(await open(path, { clock }, driver), limit)).toBe(700)
  })
})

it('a database passed by the caller stays open when the store is closed', async () => {
  const database = connect(MAIN_DRIVER, ':memory:')
  const store = new SqliteStore({ database, clock })
  await charge(store, makeLimit())
  await store.close()
  expect(database.prepare('SELECT count(*) AS count FROM state').get()).toEqual({ count: 1 })
  database.close()
})

describe('the package that opens the file', () => {
  it('is the first available one', async () => {
    const asked: string[] = []
    const load = (name: string): Promise<unknown> => {
      asked.push(name)
      return loadDriver(name === 'better-sqlite3' ? 'no-such-package' : name)
    }
    const store = await openSqlite(':memory:', { clock, load })
    await store.close()
    expect(asked).toEqual(['better-sqlite3', 'libsql'])
  })

  it('is named in the remedy if none is available, or none works', async () => {
    const none = openSqlite(':memory:', { clock, load: name => import(`no-such-${name}`) })
    await expect(none).rejects.toThrow(/npm install better-sqlite3.*better-sqlite3: not installed/s)
    const load = (): Promise<unknown> => Promise.reject(new Error('built for another Node'))
    await expect(openSqlite(':memory:', { clock, load })).rejects.toThrow(/libsql: built for another Node/)
  })

  it('a file that cannot be written is reported, and the store continues once it can', async () => {
    const path = newFile()
    await (await open(path, { clock })).close()
    // The system's own user may write everywhere, so the connection itself is made to refuse.
    const database = connect(MAIN_DRIVER, path)
    const store = new SqliteStore({ database, clock })
    database.exec('PRAGMA query_only = ON')
    await expect(charge(store, makeLimit())).rejects.toThrow(/SQLITE_READONLY.*make the file/s)
    expect((await store.health()).ok).toBe(true)
    database.exec('PRAGMA query_only = OFF')
    expect((await charge(store, makeLimit())).allowed).toBe(true)
    await store.close()
    database.close()
  })
})
