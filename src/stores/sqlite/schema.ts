import { StoreError } from '../../core/errors.ts'
import { type SqliteDatabase, selectSingleValue } from './driver-types.ts'

/** Application id in the file header: the letters `tgat`. */
const APPLICATION_ID = 0x74676174

/**
 * Migrations: one step per schema version, the first from an empty file to version 1. A released step is never
 * changed; a new shape is a new step.
 *
 * `rule`: a rule's numbers since `since` (ms), earlier ones as JSON (`past`: [numbers, since] each), and its number
 * of keys. A rule without a name was forgotten; the sweep removes its rows. `state`: a key's cells and the numbers
 * (`limits`) they were written under. `note`: a runtime entry (ban, override, exemption or tier); `note_change`
 * counts changes.
 */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE rule (
     id INTEGER PRIMARY KEY,
     name BLOB UNIQUE,
     limits TEXT NOT NULL,
     since INTEGER NOT NULL,
     keys INTEGER NOT NULL
   );
   CREATE TABLE state (
     rule INTEGER NOT NULL,
     key BLOB NOT NULL,
     limits TEXT NOT NULL,
     cells BLOB NOT NULL,
     whole_at INTEGER NOT NULL,
     refused_until INTEGER NOT NULL,
     PRIMARY KEY (rule, key)
   ) WITHOUT ROWID;`,
  `CREATE TABLE note (
     kind TEXT NOT NULL,
     id TEXT NOT NULL,
     json TEXT NOT NULL,
     expires_at INTEGER NOT NULL,
     PRIMARY KEY (kind, id)
   ) WITHOUT ROWID;
   CREATE TABLE note_change (count INTEGER NOT NULL);
   INSERT INTO note_change (count) VALUES (0);`,
  `ALTER TABLE rule ADD COLUMN past TEXT NOT NULL DEFAULT '[]';`,
]

/** Longest wait for a lock while opening and during a decision, which is retried later. */
const OPENING_BUSY_MS = 1_000
const BUSY_MS = 5
/** Small pages. Why: decisions change single rows all over the file; small pages write a quarter of the bytes. */
const PAGE_BYTES = 1_024
/** Size at which the write-ahead log is checkpointed; large, so that few decisions meet a checkpoint. */
const LOG_BYTES = 33_554_432

/**
 * Prepares a database: the newest schema, a write-ahead log that is synced at checkpoints, and a short lock timeout.
 * Throws as `migrate`.
 */
export function prepareDatabase(database: SqliteDatabase): void {
  database.exec(`PRAGMA busy_timeout = ${OPENING_BUSY_MS}`)
  // Only effective before the file has content.
  database.exec(`PRAGMA page_size = ${PAGE_BYTES}`)
  migrate(database)
  database.exec('PRAGMA journal_mode = WAL')
  database.exec('PRAGMA synchronous = NORMAL')
  const pageBytes = Number(selectSingleValue(database, 'PRAGMA page_size'))
  database.exec(`PRAGMA wal_autocheckpoint = ${LOG_BYTES / pageBytes}`)
  database.exec(`PRAGMA journal_size_limit = ${LOG_BYTES}`)
  database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
}

/**
 * Migrates a database to the newest schema, all steps or none. Throws StoreError if a newer version or another
 * program wrote the file, and SQLite's error if it is locked or broken.
 */
export function migrate(database: SqliteDatabase, steps: readonly string[] = MIGRATIONS): void {
  if (versionOf(database, steps.length) === steps.length) return
  database.exec('BEGIN IMMEDIATE')
  try {
    // Read again under the lock, because another process may have migrated it.
    const version = versionOf(database, steps.length)
    for (const step of steps.slice(version)) database.exec(step)
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    database.exec(`PRAGMA user_version = ${steps.length}`)
    database.exec('COMMIT')
  } catch (error) {
    rollBackTransaction(database)
    throw error
  }
}

/** Rolls back a failed transaction, unless SQLite has already done so. */
export function rollBackTransaction(database: SqliteDatabase): void {
  try {
    database.exec('ROLLBACK')
  } catch {
    // There is no transaction left to roll back.
  }
}

function versionOf(database: SqliteDatabase, newest: number): number {
  const version = Number(selectSingleValue(database, 'PRAGMA user_version'))
  const id = Number(selectSingleValue(database, 'PRAGMA application_id'))
  const tables = Number(selectSingleValue(database, 'SELECT count(*) FROM sqlite_master'))
  if (id !== APPLICATION_ID && (tables > 0 || version > 0)) {
    throw new StoreError(
      'the SQLite file holds tables of another program (use a separate file for topicgate)',
    )
  }
  if (version > newest) {
    throw new StoreError(
      `the SQLite file has schema version ${version}; this topicgate supports up to ${newest} (update topicgate, or use another file)`,
    )
  }
  return version
}
