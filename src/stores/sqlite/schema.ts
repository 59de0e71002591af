import { StoreError } from '../../core/errors.ts'
import { readValue, type SqliteDatabase } from './database.ts'

/** Marks a file as this project's, in its header: the letters `tgat`. */
const APPLICATION_ID = 0x74676174

/**
 * One step for each version of the schema, the first from an empty file to version 1. A step that was released is
 * never changed: a new shape is a new step.
 *
 * `rule`: a rule's numbers as they were adopted at `since` (ms), those of before as JSON (`past`: [numbers, since] each), and
 * how many keys it has. A rule without a name was
 * forgotten; the sweep removes its rows. `state`: a key's cells under the numbers (`limits`) they were written by.
 * `note`: a ban, override, exemption or tier of a moment; `note_change` counts their changes.
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

/** Longest that opening blocks for a lock, and longest that a decision does; it is tried again later. */
const OPENING_BUSY_MS = 1_000
const BUSY_MS = 5
/** Decisions change single rows all over the file: small pages write a quarter of the bytes of default ones. */
const PAGE_BYTES = 1_024
/** The write-ahead log is written back from this size on, rarely enough that few decisions meet it. */
const LOG_BYTES = 33_554_432

/**
 * Makes a database ready: the newest schema, a write-ahead log that is synced when it is written back, and a short
 * wait for locks. Throws as `migrate`.
 */
export function prepareFile(database: SqliteDatabase): void {
  database.exec(`PRAGMA busy_timeout = ${OPENING_BUSY_MS}`)
  // Heeded by a file that is yet to be made.
  database.exec(`PRAGMA page_size = ${PAGE_BYTES}`)
  migrate(database)
  database.exec('PRAGMA journal_mode = WAL')
  database.exec('PRAGMA synchronous = NORMAL')
  const pageBytes = Number(readValue(database, 'PRAGMA page_size'))
  database.exec(`PRAGMA wal_autocheckpoint = ${LOG_BYTES / pageBytes}`)
  database.exec(`PRAGMA journal_size_limit = ${LOG_BYTES}`)
  database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
}

/**
 * Brings a database to the newest schema, all steps or none. Throws StoreError where the file was written by a newer
 * version or is not this project's, and what SQLite throws where it is locked or broken.
 */
export function migrate(database: SqliteDatabase, steps: readonly string[] = MIGRATIONS): void {
  if (versionOf(database, steps.length) === steps.length) return
  database.exec('BEGIN IMMEDIATE')
  try {
    // Asked again under the lock: another process may have been faster.
    const version = versionOf(database, steps.length)
    for (const step of steps.slice(version)) database.exec(step)
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    database.exec(`PRAGMA user_version = ${steps.length}`)
    database.exec('COMMIT')
  } catch (error) {
    undo(database)
    throw error
  }
}

/** Ends a transaction that failed. SQLite may have ended it already, and then says so. */
export function undo(database: SqliteDatabase): void {
  try {
    database.exec('ROLLBACK')
  } catch {
    // There is nothing left to roll back.
  }
}

function versionOf(database: SqliteDatabase, newest: number): number {
  const version = Number(readValue(database, 'PRAGMA user_version'))
  const id = Number(readValue(database, 'PRAGMA application_id'))
  const tables = Number(readValue(database, 'SELECT count(*) FROM sqlite_master'))
  if (id !== APPLICATION_ID && (tables > 0 || version > 0)) {
    throw new StoreError(
      'the SQLite file holds tables that are not those of topicgate (give topicgate a file of its own)',
    )
  }
  if (version > newest) {
    throw new StoreError(
      `the SQLite file has version ${version} of the schema, this topicgate knows ${newest} (update topicgate, or name another file)`,
    )
  }
  return version
}
