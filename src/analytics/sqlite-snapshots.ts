import { type Clock, systemClock } from '../core/clock.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { SnapshotStore, StoredSnapshot } from './snapshot-store.ts'

/** Prepared statement and open database of better-sqlite3, libsql or node:sqlite. */
interface SnapshotStatement {
  all(...values: (string | number)[]): unknown[]
  run(...values: (string | number)[]): unknown
}
export interface AnalyticsDatabase {
  prepare(sql: string): SnapshotStatement
  exec(sql: string): unknown
}

export interface SqliteSnapshotsOptions {
  readonly database: AnalyticsDatabase
  readonly clock?: Clock | undefined
}

const OPTIONS: KnownOptions<SqliteSnapshotsOptions> = { database: true, clock: true }

/**
 * Snapshot store in a SQLite database, possibly that of a rate limit store. Creates its own table. The database stays
 * open.
 */
export class SqliteSnapshots implements SnapshotStore {
  readonly #clock: Clock
  readonly #put: SnapshotStatement
  readonly #sweep: SnapshotStatement
  readonly #list: SnapshotStatement

  constructor(options: SqliteSnapshotsOptions) {
    checkOptionNames(options, OPTIONS)
    const { database, clock = systemClock } = options
    this.#clock = clock
    database.exec(
      'CREATE TABLE IF NOT EXISTS topicgate_insight (node TEXT PRIMARY KEY, json TEXT NOT NULL, ends_ms INTEGER NOT NULL)',
    )
    this.#put = database.prepare(
      'INSERT INTO topicgate_insight VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET json = excluded.json, ends_ms = excluded.ends_ms',
    )
    this.#sweep = database.prepare('DELETE FROM topicgate_insight WHERE ends_ms <= ?')
    this.#list = database.prepare(
      `SELECT node, json FROM topicgate_insight WHERE ends_ms > ? ORDER BY ends_ms DESC LIMIT ${MAX_SIZES.snapshotRecords}`,
    )
  }

  async put(node: string, json: string, ttlMs: number): Promise<void> {
    const nowMs = this.#clock.now()
    this.#sweep.run(nowMs)
    this.#put.run(node, json, nowMs + Math.ceil(ttlMs))
  }

  async list(): Promise<readonly StoredSnapshot[]> {
    return this.#list.all(this.#clock.now()) as StoredSnapshot[]
  }
}
