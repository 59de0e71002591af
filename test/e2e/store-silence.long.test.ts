import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../src/algorithms/index.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { connectRedisStore } from '../../src/stores/redis/open.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { openIoredis, openNodeRedis } from '../support/redis-clients.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisSentinel } from '../support/redis-sentinel.ts'
import { until } from '../support/wait.ts'

const limit = createLimit({ name: 'r', algorithm: 'token-bucket', count: 1_000, periodMs: 86_400_000 })
const TIMEOUT_MS = 250
/** Longer than a client needs to notice the silence and to open a connection that is silent as well. */
const SILENT_MS = 3_000

async function decides(store: RedisStore, key = 'k'): Promise<boolean> {
  try {
    await store.decide([{ limit, key, cost: 1 }], { commit: true })
    return true
  } catch {
    return false
  }
}

/** Asks without pause for a while; the answers do not matter. */
async function askFor(store: RedisStore, ms: number): Promise<void> {
  const endMs = performance.now() + ms
  while (performance.now() < endMs) {
    await decides(store)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

describe('a path that accepts connections and swallows every byte', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  const ways = {
    'by its URL': async (url: string) => {
      const store = await connectRedisStore(url, { timeoutMs: TIMEOUT_MS })
      return { store, end: () => {} }
    },
    'through ioredis': async (url: string) => {
      const client = await openIoredis(url)
      return { store: new RedisStore({ client, timeoutMs: TIMEOUT_MS }), end: () => client.disconnect() }
    },
    'through node-redis': async (url: string) => {
      const client = await openNodeRedis(url)
      return { store: new RedisStore({ client, timeoutMs: TIMEOUT_MS }), end: () => client.destroy() }
    },
  }
  it.each(Object.entries(ways))('is left behind once it passes bytes again: %s', async (_, open) => {
    await using proxy = await FaultProxy.start(server.port)
    const { store, end } = await open(`redis://127.0.0.1:${proxy.port}`)
    await until(() => decides(store))
    proxy.fault = 'swallow'
    await askFor(store, SILENT_MS)
    proxy.fault = 'none'
    await until(() => decides(store), { timeoutMs: 60_000, what: 'the store to decide again' })
    expect((await store.health()).ok).toBe(true)
    await store.close()
    end()
  })
})

describe('a master that hangs with its sockets open', () => {
  it('is left for the one the sentinels name', async () => {
    await using sentinel = await startRedisSentinel()
    const store = await connectRedisStore(sentinel.url, { timeoutMs: TIMEOUT_MS, denialCache: 0 })
    await until(() => decides(store))
    const before = await sentinel.masterPort()
    process.kill(sentinel.nodes[0]!.pid, 'SIGSTOP')
    const asking = askFor(store, 2_000)
    await until(async () => (await sentinel.masterPort()) !== before, { timeoutMs: 60_000 })
    await asking
    await until(() => decides(store), { timeoutMs: 60_000, what: 'the new master to decide' })
    expect(await sentinel.masterPort()).not.toBe(before)
    expect((await store.health()).ok).toBe(true)
    await store.close()
    process.kill(sentinel.nodes[0]!.pid, 'SIGCONT')
  })

  it('is left for the replica that takes its slots', async () => {
    await using cluster = await startRedisCluster({ replicas: true, nodeTimeoutMs: 500 })
    const store = await connectRedisStore(cluster.url, { timeoutMs: TIMEOUT_MS, denialCache: 0 })
    const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
    const all = async (): Promise<boolean> =>
      (await Promise.all(keys.map(key => decides(store, key)))).every(Boolean)
    await until(all)
    process.kill(cluster.nodes[0]!.pid, 'SIGSTOP')
    const role = async (): Promise<string> => cluster.admin(3).info('replication')
    await until(async () => (await role()).includes('role:master'), { timeoutMs: 60_000 })
    await until(all, { timeoutMs: 60_000, what: 'every slot to be decided' })
    expect((await store.health()).ok).toBe(true)
    process.kill(cluster.nodes[0]!.pid, 'SIGCONT')
    await store.close()
  })
})
