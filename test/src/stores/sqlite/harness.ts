import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { createLimit, type LimitSpec } from '../../../../src/algorithms/index.ts'
import type { Limit } from '../../../../src/algorithms/limit-types.ts'
import { type OpenSqliteOptions, openSqlite, type SqliteStore } from '../../../../src/stores/sqlite/index.ts'
import type { Store, Verdict } from '../../../../src/stores/store.ts'
import { type DriverName, MAIN_DRIVER, only } from './drivers.ts'

/** Returns a path without a file, in a folder that is removed after the test. */
export function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-sqlite-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'limits.db')
}

/** Opens a store that is closed after the test. */
export async function open(
  path: string,
  options: OpenSqliteOptions = {},
  driver: DriverName = MAIN_DRIVER,
): Promise<SqliteStore> {
  const store = await openSqlite(path, { load: only(driver), ...options })
  onTestFinished(() => store.close())
  return store
}

export function makeLimit(spec: Partial<LimitSpec> = {}): Limit {
  return createLimit({ name: 'rule', algorithm: 'token-bucket', count: 3, periodMs: 60_000, ...spec })
}

/** Charges one key of one rule. */
export async function charge(store: Store, limit: Limit, key = '', cost = 1): Promise<Verdict> {
  const [verdict] = await store.decide([{ limit, key, cost }], { commit: true })
  return verdict!
}

/** Returns the remaining units of a key, without charging it. */
export async function remaining(store: Store, limit: Limit, key = ''): Promise<number> {
  const [verdict] = await store.decide([{ limit, key, cost: 0 }], { commit: false })
  return verdict!.remaining
}
