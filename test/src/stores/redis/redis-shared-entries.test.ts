import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RedisStore } from '../../../../src/stores/redis/index.ts'
import { connectRedisStore } from '../../../../src/stores/redis/open.ts'
import type { SharedEntries, SharedEntriesWatch } from '../../../../src/stores/shared-entries.ts'
import { startRedis } from '../../../support/redis.ts'
import {
  openIoredis,
  openIoredisCluster,
  openNodeRedis,
  openNodeRedisCluster,
} from '../../../support/redis-clients.ts'
import { startRedisCluster } from '../../../support/redis-cluster.ts'
import { until } from '../../../support/wait.ts'

const server = await startRedis()
const cluster = await startRedisCluster()
const admin = await openIoredis(server.url)
/** Unique prefix per test, because messages for another prefix may still be in transit in the cluster. */
let prefix = ''
let tests = 0
const ends: (() => unknown)[] = []
beforeEach(() => {
  prefix = `test-${++tests}`
})
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
  await cluster.stop()
})

const NOTE = { kind: 'ban', id: 'client:a', json: '{}' }

/** Stores by kind of client; all are closed with their clients at the end of the test. */
const KINDS: Readonly<Record<string, (prefix: string) => Promise<RedisStore>>> = {
  ioredis: async prefix => {
    const client = await openIoredis(server.url)
    return opened(new RedisStore({ client, prefix, timeoutMs: 20_000 }), () => client.disconnect())
  },
  'node-redis': async prefix => {
    const client = await openNodeRedis(server.url)
    return opened(new RedisStore({ client, prefix, timeoutMs: 20_000 }), () => client.destroy())
  },
  'ioredis Cluster': async prefix => {
    const client = await openIoredisCluster(cluster.url)
    return opened(new RedisStore({ client, prefix, timeoutMs: 20_000 }), () => client.disconnect())
  },
  'node-redis Cluster': async prefix => {
    const client = await openNodeRedisCluster(cluster.url)
    return opened(new RedisStore({ client, prefix, timeoutMs: 20_000 }), () => client.destroy())
  },
  'a URL': async prefix => {
    const store = await connectRedisStore(server.url, { prefix, timeoutMs: 20_000 })
    await until(async () => (await store.health()).ok)
    return opened(store, () => {})
  },
}

function opened(store: RedisStore, end: () => unknown): RedisStore {
  ends.push(async () => {
    await store.close()
    await end()
  })
  return store
}

interface Subscription {
  readonly watch: SharedEntriesWatch
  heard: number
}

/** Subscribes and waits until the subscription is live. */
async function listen(sharedEntries: SharedEntries): Promise<Subscription> {
  const subscription = { heard: 0 } as { watch: SharedEntriesWatch; heard: number }
  subscription.watch = sharedEntries.watch!(() => subscription.heard++)
  await until(() => subscription.watch.isLive())
  expect(subscription.heard).toBe(1)
  return subscription
}

/** All servers. */
const admins = [admin, ...cluster.nodes.map((_, index) => cluster.admin(index))]

async function listeners(): Promise<number> {
  const lists = await Promise.all(admins.map(one => one.client('LIST', 'TYPE', 'PUBSUB')))
  return lists.flatMap(list => String(list).split('\n')).filter(line => line !== '').length
}

describe.each(Object.keys(KINDS))('shared entries of a store with %s', kind => {
  it('are reported once each, from any node to all', async () => {
    const [here, there] = [await KINDS[kind]!(prefix), await KINDS[kind]!(prefix)]
    const ears = [await listen(here.sharedEntries), await listen(there.sharedEntries)]
    for (let n = 0; n < 20; n++) {
      await (n % 2 === 0 ? here : there).sharedEntries.put({ ...NOTE, id: `client:${n}` })
    }
    await here.sharedEntries.remove('ban', 'client:0')
    await until(() => ears.every(({ heard }) => heard >= 22))
    expect(ears.map(({ heard }) => heard)).toEqual([22, 22])
    expect(await there.sharedEntries.list()).toHaveLength(19)
  })

  it('are no longer reported after the watch or the store is closed', async () => {
    const store = await KINDS[kind]!(prefix)
    const [first, second] = [await listen(store.sharedEntries), await listen(store.sharedEntries)]
    first.watch.close()
    await store.sharedEntries.put(NOTE)
    await until(() => second.heard === 2)
    expect(first.heard).toBe(1)
    await store.close()
    expect([first.watch.isLive(), second.watch.isLive()]).toEqual([false, false])
    await until(async () => (await listeners()) === 0, { what: 'the connections to end' })
  })

  it('are reported through another connection when one is lost; both changes are reported', async () => {
    const [here, there] = [await KINDS[kind]!(prefix), await KINDS[kind]!(prefix)]
    const ears = [await listen(here.sharedEntries), await listen(there.sharedEntries)]
    expect(await listeners()).toBe(2)
    for (const one of admins) await one.client('KILL', 'TYPE', 'PUBSUB')
    await until(() => ears.every(({ heard, watch }) => heard >= 3 && watch.isLive()))
    // Lost, and live again.
    expect(ears.map(({ heard }) => heard)).toEqual([3, 3])
    await here.sharedEntries.put(NOTE)
    await until(() => ears.every(({ heard }) => heard >= 4))
    expect(ears.map(({ heard }) => heard)).toEqual([4, 4])
    expect(await listeners()).toBe(2)
  })
})

describe('a Redis subscription', () => {
  it('waits for a server that is down, and is live when it is back', async () => {
    const first = await startRedis()
    const store = opened(await connectRedisStore(first.url, { timeoutMs: 20_000 }), () => {})
    const subscription = await listen(store.sharedEntries)
    await first.stop('SIGKILL')
    await until(() => !subscription.watch.isLive())
    expect(subscription.heard).toBe(2)
    const again = await startRedis({ port: first.port })
    await until(() => subscription.watch.isLive())
    expect(subscription.heard).toBe(3)
    await store.close()
    await again.stop()
  })

  it('is not available if the client cannot be duplicated', async () => {
    const client = await openIoredis(server.url)
    const single = new Proxy(client, {
      get: (target, name) => {
        const value: unknown = name === 'duplicate' ? undefined : Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
      has: (target, name) => name !== 'duplicate' && Reflect.has(target, name),
    })
    const store = opened(new RedisStore({ client: single, prefix, timeoutMs: 20_000 }), () =>
      client.disconnect(),
    )
    expect(store.sharedEntries.watch).toBeUndefined()
    await store.sharedEntries.put(NOTE)
    expect(await store.sharedEntries.list()).toEqual([NOTE])
  })

  it('stays inactive for a user without the right, and entries are stored nevertheless', async () => {
    await admin.call('ACL', 'SETUSER', 'mute', 'on', '>pw', '~*', '+@all', 'resetchannels')
    const store = opened(
      await connectRedisStore(server.url, { prefix, username: 'mute', password: 'pw', timeoutMs: 20_000 }),
      () => {},
    )
    await until(async () => (await store.health()).ok)
    let heard = 0
    const watch = store.sharedEntries.watch!(() => heard++)
    await store.sharedEntries.put(NOTE)
    expect(await store.sharedEntries.list()).toEqual([NOTE])
    expect([watch.isLive(), heard]).toEqual([false, 0])
  })
})

describe('an expired entry', () => {
  it('is removed a minute later, unless it was written again meanwhile', async () => {
    const store = await KINDS.ioredis!(prefix)
    const endedMs = Date.now() - 61_000
    for (let n = 0; n < 3; n++)
      await store.sharedEntries.put({
        ...NOTE,
        id: `client:${n}`,
        expiresAtMs: n === 2 ? endedMs + 30_000 : endedMs,
      })
    const before = await store.sharedEntries.version()
    expect((await store.sharedEntries.list()).map(({ id }) => id)).toEqual(['client:2'])
    // The version, and the entry that expired half a minute ago.
    expect(await admin.hlen(`${prefix}:notes`)).toBe(2)
    expect(await store.sharedEntries.version()).toBe(before)
  })
})
