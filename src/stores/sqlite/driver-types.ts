/** Parameter of a statement: text, number or bytes. */
export type SqliteValue = string | number | Uint8Array

/** Prepared statement of better-sqlite3, libsql or node:sqlite. */
export interface SqliteStatement {
  /** Returns the first row as an object, or undefined. */
  get(...values: SqliteValue[]): unknown
  all(...values: SqliteValue[]): unknown[]
  run(...values: SqliteValue[]): unknown
}

/**
 * Open database: a `Database` of better-sqlite3 or libsql, a `DatabaseSync` of node:sqlite, or any object with these
 * three methods.
 */
export interface SqliteDatabase {
  prepare(sql: string): SqliteStatement
  exec(sql: string): unknown
  close(): unknown
}

/** Returns the single value of a query, such as a PRAGMA. */
export function selectSingleValue(database: SqliteDatabase, sql: string): unknown {
  return Object.values(database.prepare(sql).get() as Record<string, unknown>)[0]
}
