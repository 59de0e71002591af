/** What a statement is given: text, numbers, bytes. */
export type SqliteValue = string | number | Uint8Array

/** A prepared statement, as better-sqlite3, libsql and node:sqlite have it. */
export interface SqliteStatement {
  /** The first row as an object, or undefined. */
  get(...values: SqliteValue[]): unknown
  all(...values: SqliteValue[]): unknown[]
  run(...values: SqliteValue[]): unknown
}

/**
 * An open database: a `Database` of better-sqlite3 or libsql, a `DatabaseSync` of node:sqlite, or whatever has these
 * three methods.
 */
export interface SqliteDatabase {
  prepare(sql: string): SqliteStatement
  exec(sql: string): unknown
  close(): unknown
}

/** The one value of a query that has one, as of a PRAGMA. */
export function readValue(database: SqliteDatabase, sql: string): unknown {
  return Object.values(database.prepare(sql).get() as Record<string, unknown>)[0]
}
