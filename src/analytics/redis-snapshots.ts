import { type Clock, systemClock } from '../core/clock.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { SnapshotStore, StoredSnapshot } from './snapshot-store.ts'

/** Used part of an ioredis client or Cluster. */
export interface SnapshotRedis {
  set(key: string, value: string, unit: 'PX', ttlMs: number): Promise<unknown>
  get(key: string): Promise<string | null>
  zadd(key: string, score: number, member: string): Promise<unknown>
  zremrangebyscore(key: string, least: string, most: number): Promise<unknown>
  zrevrange(key: string, first: number, last: number): Promise<string[]>
  pexpire(key: string, ttlMs: number): Promise<unknown>
}

export interface RedisSnapshotsOptions {
  readonly client: SnapshotRedis
  /** Prefix of the keys. Default: `topicgate`. */
  readonly prefix?: string | undefined
  readonly clock?: Clock | undefined
}

const OPTIONS: KnownOptions<RedisSnapshotsOptions> = { client: true, prefix: true, clock: true }

/** Records requested at once. */
const MAX_CONCURRENT = 64

/**
 * Snapshot store in Redis or Valkey: standalone, Sentinel or Cluster. Uses a key per record, which expires, and a
 * sorted set of keys by expiry. The client stays open; the caller closes it.
 */
export class RedisSnapshots implements SnapshotStore {
  readonly #client: SnapshotRedis
  readonly #prefix: string
  readonly #clock: Clock

  constructor(options: RedisSnapshotsOptions) {
    checkOptionNames(options, OPTIONS)
    const { client, prefix = 'topicgate', clock = systemClock } = options
    this.#client = client
    this.#prefix = `${prefix}:insight`
    this.#clock = clock
  }

  async put(node: string, json: string, ttlMs: number): Promise<void> {
    const nowMs = this.#clock.now()
    await this.#client.set(this.#keyOf(node), json, 'PX', Math.ceil(ttlMs))
    await this.#client.zadd(this.#prefix, nowMs + ttlMs, node)
    await this.#client.zremrangebyscore(this.#prefix, '-inf', nowMs)
    // No record outlives the month of daily totals by more than a day.
    await this.#client.pexpire(this.#prefix, 31 * 86_400_000)
  }

  async list(): Promise<readonly StoredSnapshot[]> {
    const nodes = await this.#client.zrevrange(this.#prefix, 0, MAX_SIZES.snapshotRecords - 1)
    const found: StoredSnapshot[] = []
    for (let first = 0; first < nodes.length; first += MAX_CONCURRENT) {
      const some = nodes.slice(first, first + MAX_CONCURRENT)
      const texts = await Promise.all(some.map(node => this.#client.get(this.#keyOf(node))))
      for (const [index, json] of texts.entries()) if (json !== null) found.push({ node: some[index]!, json })
    }
    return found
  }

  #keyOf(node: string): string {
    return `${this.#prefix}:${node}`
  }
}
