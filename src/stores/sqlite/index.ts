export type { SqliteDatabase, SqliteStatement, SqliteValue } from './driver-types.ts'
export { type OpenSqliteOptions, openSqlite } from './open.ts'
export { SqliteStore, type SqliteStoreOptions } from './store.ts'
