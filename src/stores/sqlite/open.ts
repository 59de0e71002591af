import { pause, systemClock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'
import type { SqliteDatabase } from './database.ts'
import { SqliteStore, type SqliteStoreOptions } from './store.ts'
import { isLocked, storeError } from './trouble.ts'

type Driver = new (path: string) => SqliteDatabase

/** Packages that can open a file, in the order of their speed, and what each calls its class. */
const DRIVERS: readonly (readonly [name: string, className: string])[] = [
  ['better-sqlite3', 'default'],
  ['libsql', 'default'],
  ['node:sqlite', 'DatabaseSync'],
]

/** Two processes that make one file at the same moment meet a lock now and then. */
const TRIES = 40
const RETRY_MS = 50

export interface OpenSqliteOptions extends Omit<SqliteStoreOptions, 'database' | 'closesDatabase'> {
  /** How a package is loaded. Default: `import()`. */
  readonly load?: (name: string) => Promise<unknown>
}

/**
 * Opens `./limits.db`, `sqlite:./limits.db`, `sqlite:///var/lib/limits.db` or `:memory:` with the first of
 * better-sqlite3, libsql and node:sqlite that is there; the file is made where it is not there. Rejects with
 * StoreError where none of them is, or where the file cannot be used.
 */
export async function openSqlite(path: string, options: OpenSqliteOptions = {}): Promise<SqliteStore> {
  const { load = name => import(name), ...rest } = options
  const place = path.replace(/^sqlite:(\/\/)?/, '')
  if (place === '') throw new StoreError('the SQLite store has no file (write sqlite:./limits.db)')
  const Driver = await findDriver(load)
  for (let left = TRIES; ; left--) {
    try {
      return openOnce(place, Driver, rest)
    } catch (error) {
      if (left === 0 || !isLocked((error as StoreError).cause)) throw error
    }
    await pause(systemClock, RETRY_MS)
  }
}

function openOnce(path: string, Driver: Driver, options: OpenSqliteOptions): SqliteStore {
  let database: SqliteDatabase | undefined
  try {
    database = new Driver(path)
    return new SqliteStore({ ...options, database, closesDatabase: true })
  } catch (error) {
    database?.close()
    throw storeError(error, `open ${path}`)
  }
}

/** The first package that is there and can be loaded. */
async function findDriver(load: (name: string) => Promise<unknown>): Promise<Driver> {
  const found: string[] = []
  let cause: unknown
  for (const [name, className] of DRIVERS) {
    try {
      const Driver = ((await load(name)) as Readonly<Record<string, Driver>>)[className]!
      // A package made for another version of Node is only noticed when it is used.
      new Driver(':memory:').close()
      return Driver
    } catch (error) {
      const { code } = error as { readonly code?: unknown }
      const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'ERR_UNKNOWN_BUILTIN_MODULE'
      if (!isMissing) cause ??= error
      found.push(`${name}: ${isMissing ? 'not installed' : (error as Error).message}`)
    }
  }
  const text = `the SQLite store found no package to open a file (npm install better-sqlite3). Tried ${found.join('; ')}`
  throw new StoreError(text, { cause })
}
