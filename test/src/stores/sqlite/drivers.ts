import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { SqliteDatabase } from '../../../../src/stores/sqlite/index.ts'
import { ROOT } from '../../../support/built.ts'

type Driver = new (path: string) => SqliteDatabase

/** Where scripts/ensure-servers.sh puts better-sqlite3, which is built from source and so no dependency. */
export const BETTER_SQLITE3 = join(
  ROOT,
  'node_modules/.cache/topicgate/better-sqlite3/node_modules/better-sqlite3',
)

/** The packages every test runs on. */
export const DRIVERS = ['better-sqlite3', 'libsql'] as const
export type DriverName = (typeof DRIVERS)[number]

/** Loads a package as `openSqlite` does; better-sqlite3 from where it was put. */
export async function loadDriver(name: string): Promise<unknown> {
  if (name === 'better-sqlite3') return { default: createRequire(import.meta.url)(BETTER_SQLITE3) as Driver }
  return import(name)
}

/** Loads one package and finds no other. */
export function only(wanted: DriverName): (name: string) => Promise<unknown> {
  return name => loadDriver(name === wanted ? name : `no-such-${name}`)
}

/** A plain connection, to look at a file from outside or to hold its lock. */
export function connect(driver: DriverName, path: string): SqliteDatabase {
  const Database = createRequire(import.meta.url)(driver === 'libsql' ? driver : BETTER_SQLITE3) as Driver
  return new Database(path)
}
