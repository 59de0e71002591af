import { closeSync, openSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { sleep, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import type { SqliteDatabase } from './driver-types.ts'
import { isLocked, wrapSqliteError } from './sqlite-errors.ts'
import { SqliteStore, type SqliteStoreOptions } from './store.ts'

type Driver = new (path: string) => SqliteDatabase

interface LoadedDriver {
  readonly name: string
  readonly Driver: Driver
}

/** Packages that can open a file, fastest first, and the name of their class. */
const DRIVERS: readonly (readonly [name: string, className: string])[] = [
  ['better-sqlite3', 'default'],
  ['libsql', 'default'],
  ['node:sqlite', 'DatabaseSync'],
]

const OPTIONS: KnownOptions<OpenSqliteOptions> = {
  clock: true,
  logger: true,
  maxKeysPerRule: true,
  lockWaitMs: true,
  load: true,
}

/** Attempts to open a file. Why: two processes that create it at the same time sometimes meet a lock. */
const MAX_ATTEMPTS = 40
const RETRY_MS = 50

export interface OpenSqliteOptions
  extends Omit<SqliteStoreOptions, 'database' | 'closesDatabase' | 'reopen' | 'onClosed'> {
  /** Loads the package. Default: `import()`. */
  readonly load?: ((name: string) => Promise<unknown>) | undefined
}

/**
 * Opens `./limits.db`, `sqlite:./limits.db`, `sqlite:///var/lib/limits.db` or `:memory:` with the first available
 * package of better-sqlite3, libsql and node:sqlite; creates the file if needed. Rejects with StoreError if no
 * package is available or the file cannot be used.
 */
export async function openSqlite(path: string, options: OpenSqliteOptions = {}): Promise<SqliteStore> {
  checkOptionNames(options, OPTIONS)
  const { load = name => import(name), ...rest } = options
  const file = path.replace(/^sqlite:(\/\/)?/, '')
  if (file === '') throw new StoreError('the SQLite store has no file (write sqlite:./limits.db)')
  const driver = await findDriver(load)
  for (let left = MAX_ATTEMPTS; ; left--) {
    try {
      return openOnce(file, driver, rest)
    } catch (error) {
      if (left === 0 || !isLocked((error as StoreError).cause)) throw error
    }
    await sleep(systemClock, RETRY_MS)
  }
}

function openOnce(path: string, { name, Driver }: LoadedDriver, options: OpenSqliteOptions): SqliteStore {
  const reopen = (): SqliteDatabase => {
    makePrivate(path)
    return new Driver(path)
  }
  let database: SqliteDatabase | undefined
  try {
    database = reopen()
    const onClosed = name === 'libsql' && path !== ':memory:' ? collectStatements : undefined
    const store = new SqliteStore({
      ...options,
      database,
      closesDatabase: true,
      reopen,
      onClosed,
    })
    options.logger?.info({ file: path, driver: name }, 'the SQLite store is open')
    return store
  } catch (error) {
    database?.close()
    throw wrapSqliteError(error, `open ${path}`)
  }
}

/**
 * Creates the file, if missing, readable by its owner only, because it holds names of clients. SQLite's other files
 * get the same mode.
 */
function makePrivate(path: string): void {
  if (path === ':memory:') return
  try {
    closeSync(openSync(path, 'a', 0o600))
  } catch {
    // The driver reports why it cannot be opened.
  }
}

/** Runs the garbage collector, because libsql keeps a closed file open until its statements are collected. */
async function collectStatements(): Promise<void> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let round = 0; round < 3; round++) {
    collect()
    await new Promise(resolve => setImmediate(resolve))
  }
}

/** Returns the first package that can be loaded. */
async function findDriver(load: (name: string) => Promise<unknown>): Promise<LoadedDriver> {
  const found: string[] = []
  let cause: unknown
  for (const [name, className] of DRIVERS) {
    try {
      const Driver = ((await load(name)) as Readonly<Record<string, Driver>>)[className]!
      // A package built for another version of Node only fails when it is used.
      new Driver(':memory:').close()
      return { name, Driver }
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
