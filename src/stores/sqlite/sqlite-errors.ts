import { StoreError } from '../../core/errors.ts'

/** Primary result codes by number, for node:sqlite, which reports no names. Source: https://sqlite.org/rescode.html */
const CODES: Readonly<Record<number, string>> = {
  5: 'SQLITE_BUSY',
  6: 'SQLITE_LOCKED',
  8: 'SQLITE_READONLY',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  26: 'SQLITE_NOTADB',
}

const REMEDIES: Readonly<Record<string, string>> = {
  SQLITE_BUSY: 'another connection holds its lock: end what keeps a transaction open on it',
  SQLITE_LOCKED: 'another statement holds its lock: give topicgate a connection of its own',
  SQLITE_READONLY: 'make the file and its folder writable',
  SQLITE_IOERR: 'look at the disk and at the system log',
  SQLITE_CORRUPT: 'move the file away, and the limits start afresh',
  SQLITE_FULL: 'make room on the disk, or raise max_page_count',
  SQLITE_CANTOPEN: 'make the folder first, and let it be writable',
  SQLITE_NOTADB: 'name another file: this one is no SQLite database',
}

/** Returns the code of a SQLite error, such as `SQLITE_BUSY` or an extended one; undefined for other errors. */
export function getSqliteErrorCode(error: unknown): string | undefined {
  const { code, errcode, message } = (error ?? {}) as { code?: unknown; errcode?: unknown; message?: unknown }
  if (typeof code === 'string' && code.startsWith('SQLITE_')) return code
  if (typeof errcode === 'number') return CODES[errcode & 0xff] ?? `SQLITE_ERROR ${errcode}`
  // libsql sets no code when it opens a file, but its message ends with the number.
  const opening = /^ConnectionFailed\(.*: (\d+)"\)$/.exec(String(message))
  return opening === null ? undefined : (CODES[Number(opening[1]) & 0xff] ?? 'SQLITE_ERROR')
}

/** Returns true if another connection holds the lock, so that a retry may succeed. */
export function isLocked(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(getSqliteErrorCode(error) ?? '')
}

/** Wraps a SQLite error in a StoreError with the remedy; returns a StoreError unchanged. */
export function wrapSqliteError(error: unknown, action: string): StoreError {
  if (error instanceof StoreError) return error
  const code = getSqliteErrorCode(error)
  const remedy = REMEDIES[code?.match(/^SQLITE_[A-Z]+/)?.[0] ?? '']
  const words = error instanceof Error ? error.message : String(error)
  const text = `the SQLite store could not ${action}: ${code === undefined ? '' : `${code}, `}${words}`
  return new StoreError(remedy === undefined ? text : `${text} (${remedy})`, { cause: error })
}
