import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { SqliteDatabase } from '../../../../src/stores/sqlite/index.ts'
import { ROOT } from '../../../support/built.ts'

type Driver = new (path: string) => SqliteDatabase

/**
 * Directory in which scripts/ensure-servers.sh installs better-sqlite3, which is built from source and therefore not
 * a dependency.
 */
export const BETTER_SQLITE3 = join(
  ROOT,
  'node_modules/.cache/topicgate/better-sqlite3/node_modules/better-sqlite3',
)

const ALL = ['better-sqlite3', 'libsql', 'node:sqlite'] as const
export type DriverName = (typeof ALL)[number]

/**
 * Packages that every test runs on, from TOPICGATE_SQLITE_DRIVERS, such as `libsql,node:sqlite`. Node 20 has no
 * node:sqlite, and better-sqlite3 is built for the Node that runs `npm test`.
 */
export const DRIVERS: readonly DriverName[] = (
  process.env.TOPICGATE_SQLITE_DRIVERS ?? 'better-sqlite3,libsql'
)
  .split(',')
  .map(name => {
    const known = ALL.find(driver => driver === name)
    if (known === undefined) throw new Error(`TOPICGATE_SQLITE_DRIVERS: ${name} is none of ${ALL.join(', ')}`)
    return known
  })

/** Package for tests that need only one. */
export const MAIN_DRIVER: DriverName = DRIVERS[0]!

/** Loads a package as `openSqlite` does; better-sqlite3 from its own directory. */
export async function loadDriver(name: string): Promise<unknown> {
  if (name === 'better-sqlite3') return { default: createRequire(import.meta.url)(BETTER_SQLITE3) as Driver }
  return import(name)
}

/** Loads one package and finds no other. */
export function only(wanted: DriverName): (name: string) => Promise<unknown> {
  return name => loadDriver(name === wanted ? name : `no-such-${name}`)
}

/** Plain connection, to inspect a file or to hold its lock. */
export function connect(driver: DriverName, path: string): SqliteDatabase {
  const load = createRequire(import.meta.url)
  if (driver === 'node:sqlite') {
    const { DatabaseSync } = load(driver) as { readonly DatabaseSync: Driver }
    return new DatabaseSync(path)
  }
  const Database = load(driver === 'libsql' ? driver : BETTER_SQLITE3) as Driver
  return new Database(path)
}
