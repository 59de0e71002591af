import type { SqliteDatabase } from './sqlite/driver-types.ts'

/** Redis commands used by other records such as analytics; each touches one key. They reject with StoreError. */
export interface RedisCommands {
  set(key: string, value: string, unit: 'PX', ttlMs: number): Promise<unknown>
  get(key: string): Promise<string | null>
  zadd(key: string, score: number, member: string): Promise<unknown>
  zremrangebyscore(key: string, least: string, most: number): Promise<unknown>
  zrevrange(key: string, first: number, last: number): Promise<string[]>
  pexpire(key: string, ttlMs: number): Promise<unknown>
}

/** Backend connection of a store that other features, such as analytics, may share. */
export type ShareableBackend =
  | {
      readonly kind: 'sqlite'
      /** Runs `work` in its own transaction. Rejects with StoreError if the file cannot be used. */
      transact<T>(work: (database: SqliteDatabase) => T): Promise<T>
    }
  | { readonly kind: 'redis'; readonly commands: RedisCommands; readonly prefix: string }
