export type { SqliteDatabase, SqliteStatement, SqliteValue } from './database.ts'
export { type OpenSqliteOptions, openSqlite } from './open.ts'
export { SqliteStore, type SqliteStoreOptions } from './store.ts'
