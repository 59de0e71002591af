import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../src/core/clock.ts'
import type { Store } from '../../src/index.ts'
import { openNatsKv } from '../../src/stores/nats-kv/index.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { startNats } from './nats.ts'
import { startRedis } from './redis.ts'
import { openIoredis } from './redis-clients.ts'
import { until } from './wait.ts'

/** A backend that several nodes share. */
export interface SharedBackend {
  /** Opens the store of a node. */
  open(): Promise<Store>
  /** Closes the clients and stops the backend. */
  end(): Promise<void>
}

/** Functions that start a backend. `kinds` are the kinds of ephemeral entries that the nodes use. */
export const SHARED_BACKENDS: Readonly<
  Record<string, (clock: Clock, kinds: readonly string[]) => Promise<SharedBackend>>
> = {
  async 'one SQLite file'(clock) {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-nodes-'))
    return {
      open: async () => openSqlite(join(folder, 'limits.db'), { clock }),
      end: async () => rmSync(folder, { recursive: true }),
    }
  },
  async 'one Redis'() {
    const server = await startRedis()
    const clients: { disconnect(): void }[] = []
    return {
      async open() {
        const client = await openIoredis(server.url)
        clients.push(client)
        return new RedisStore({ client, timeoutMs: 20_000 })
      },
      async end() {
        for (const client of clients) client.disconnect()
        await server.stop()
      },
    }
  },
  async 'one NATS'(_clock, kinds) {
    const server = await startNats({ jetstream: true })
    return {
      async open() {
        const store = await openNatsKv(server.url, { timeoutMs: 20_000 })
        await until(async () => (await store.health()).ok)
        // Creates the buckets now, because nodes that create one at the same time may miss an interval.
        for (const kind of kinds) await store.sharedEntries!.ephemeral(kind).list()
        return store
      },
      end: () => server.stop(),
    }
  },
}
