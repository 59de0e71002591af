import type { SqliteDatabase, SqliteStatement } from './driver-types.ts'
import { blobToBuffer } from './encode-text.ts'

/** Row of the table `rule`. */
export interface RuleRow {
  readonly id: number
  readonly limits: string
  readonly since: number
  readonly past: string
  readonly keys: number
}

/** Content of a row of the table `state`. The type of bytes depends on the driver. */
export interface StateRow {
  readonly limits: string
  readonly cells: Uint8Array | ArrayBuffer
  readonly whole_at: number
  readonly refused_until: number
}

/** Key as stored in the file. */
export type StoredKey = string | number | Buffer

export interface KeyedRow extends StateRow {
  readonly key: StoredKey
}

/** Row read by a sweep, with its rule's name and numbers. */
export interface SweepRow {
  readonly rule: number
  readonly key: StoredKey
  readonly limits: string
  readonly whole_at: number
  readonly forgotten: number
  readonly since: number
  readonly now: string
  readonly past: string
}

/** Converts keys of rows so that they can be passed to a statement again. */
export function withBindableKeys<Row extends { readonly key: StoredKey }>(rows: unknown[]): Row[] {
  return (rows as Row[]).map(row => ({
    ...row,
    key: typeof row.key === 'object' ? blobToBuffer(row.key) : row.key,
  }))
}

/**
 * Statements on state, prepared once. Each has no parameter or at least two, because libsql takes a single Buffer for
 * named parameters.
 */
export interface Statements {
  readonly findRule: SqliteStatement
  readonly addRule: SqliteStatement
  readonly changeRule: SqliteStatement
  readonly find: SqliteStatement
  readonly add: SqliteStatement
  readonly change: SqliteStatement
  readonly remove: SqliteStatement
  readonly after: SqliteStatement
  readonly sweep: SqliteStatement
  readonly countKeys: SqliteStatement
  readonly dropEmptyRules: SqliteStatement
  readonly ruleNames: SqliteStatement
  readonly count: SqliteStatement
  readonly detachKeys: SqliteStatement
  readonly putEntry: SqliteStatement
  readonly removeEntry: SqliteStatement
  readonly dropEntries: SqliteStatement
  readonly listEntries: SqliteStatement
  readonly countChange: SqliteStatement
  readonly lastChange: SqliteStatement
}

const SQL: Readonly<Record<keyof Statements, string>> = {
  findRule: 'SELECT id, limits, since, past, keys FROM rule WHERE name = ? LIMIT ?',
  addRule: 'INSERT INTO rule (name, limits, since, past, keys) VALUES (?, ?, ?, ?, 0)',
  changeRule: 'UPDATE rule SET limits = ?, since = ?, past = ?, keys = ? WHERE id = ?',
  find: 'SELECT limits, cells, whole_at, refused_until FROM state WHERE rule = ? AND key = ?',
  add: 'INSERT INTO state (limits, cells, whole_at, refused_until, rule, key) VALUES (?, ?, ?, ?, ?, ?)',
  change:
    'UPDATE state SET limits = ?, cells = ?, whole_at = ?, refused_until = ? WHERE rule = ? AND key = ?',
  remove: 'DELETE FROM state WHERE rule = ? AND key = ?',
  after:
    'SELECT key, limits, cells, whole_at, refused_until FROM state WHERE rule = ? AND key > ? ORDER BY key LIMIT ?',
  sweep: `SELECT state.rule, key, state.limits, whole_at, name IS NULL AS forgotten, since, rule.limits AS now, past
          FROM state JOIN rule ON rule.id = state.rule
          WHERE (state.rule, key) > (?, ?) ORDER BY state.rule, key LIMIT ?`,
  countKeys: 'UPDATE rule SET keys = keys + ? WHERE id = ?',
  dropEmptyRules: 'DELETE FROM rule WHERE NOT EXISTS (SELECT 1 FROM state WHERE state.rule = rule.id)',
  ruleNames: 'SELECT name FROM rule WHERE name IS NOT NULL',
  count: 'SELECT coalesce(sum(keys), 0) AS keys FROM rule WHERE name IS NOT NULL',
  detachKeys: 'UPDATE rule SET name = NULL WHERE name = ? AND id = ?',
  putEntry: 'INSERT OR REPLACE INTO note (kind, id, json, expires_at) VALUES (?, ?, ?, ?)',
  removeEntry: 'DELETE FROM note WHERE kind = ? AND id = ?',
  dropEntries: 'DELETE FROM note WHERE expires_at <= ? AND kind <> ?',
  listEntries: 'SELECT kind, id, json, expires_at FROM note WHERE kind BETWEEN ? AND ?',
  countChange: 'UPDATE note_change SET count = count + 1',
  lastChange: 'SELECT count FROM note_change',
}

/** Prepares all statements; throws the driver's error. */
export function prepareStatements(database: SqliteDatabase): Statements {
  const entries = Object.entries(SQL).map(([name, sql]) => [name, database.prepare(sql)] as const)
  return Object.fromEntries(entries) as unknown as Statements
}
