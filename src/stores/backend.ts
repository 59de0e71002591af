import type { SqliteDatabase } from './sqlite/database.ts'

/** The few commands of Redis that records of others need; each touches one key. Reject with StoreError. */
export interface RedisCommands {
  set(key: string, value: string, unit: 'PX', ttlMs: number): Promise<unknown>
  get(key: string): Promise<string | null>
  zadd(key: string, score: number, member: string): Promise<unknown>
  zremrangebyscore(key: string, least: string, most: number): Promise<unknown>
  zrevrange(key: string, first: number, last: number): Promise<string[]>
  pexpire(key: string, ttlMs: number): Promise<unknown>
}

/** What the state of a store stands in, for records of others that are to stand beside it, as those of analytics. */
export type Backend =
  | {
      readonly kind: 'sqlite'
      /** Runs `work` in a transaction of its own. Rejects with StoreError where the file cannot be used. */
      transact<T>(work: (database: SqliteDatabase) => T): Promise<T>
    }
  | { readonly kind: 'redis'; readonly commands: RedisCommands; readonly prefix: string }
