import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RuntimeEntryChange } from '../../src/gate/runtime-entry.ts'
import { createSender, Gate, keepAuditLog, limit, openStore, type Store } from '../../src/index.ts'
import { NatsKvStore } from '../../src/stores/nats-kv/index.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { CLIENTS } from '../src/stores/nats-kv/harness.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startNats } from '../support/nats.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis, openIoredisCluster, openNodeRedis } from '../support/redis-clients.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisSentinel } from '../support/redis-sentinel.ts'
import { until } from '../support/wait.ts'

/** Stores compare the times of entries with the system clock. */
const clock = new FakeClock(Date.now())
const STEP_MS = 10
/** Long, so that a busy machine fails no test. */
const TIMEOUT_MS = 20_000

/** Waits for a condition while the gates' clock runs faster than the system's, so that gates poll and try again soon. */
function soon(condition: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<unknown> {
  const look = (): boolean | Promise<boolean> => {
    clock.advance(10 * STEP_MS)
    return condition()
  }
  return until(look, { timeoutMs, everyMs: STEP_MS })
}

interface Shared {
  open(): Promise<Store>
  end(): PromiseLike<void>
}

const STORES: Readonly<Record<string, () => Promise<Shared>>> = {
  async SQLite() {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-notes-'))
    return {
      open: () => openStore(`sqlite:${join(folder, 'limits.db')}`),
      end: async () => rmSync(folder, { recursive: true }),
    }
  },
  async Redis() {
    const server = await startRedis()
    return {
      open: () => openStore({ url: server.url, timeoutMs: TIMEOUT_MS }),
      end: () => server[Symbol.asyncDispose](),
    }
  },
  async 'Redis with leases'() {
    const server = await startRedis()
    return {
      open: () => openStore({ url: server.url, lease: 'auto', timeoutMs: TIMEOUT_MS }),
      end: () => server[Symbol.asyncDispose](),
    }
  },
  async 'node-redis'() {
    const server = await startRedis()
    const clients: { destroy(): void }[] = []
    return {
      async open() {
        const client = await openNodeRedis(server.url)
        clients.push(client)
        return new RedisStore({ client, timeoutMs: TIMEOUT_MS })
      },
      async end() {
        for (const client of clients) client.destroy()
        await server[Symbol.asyncDispose]()
      },
    }
  },
  async 'Redis Cluster'() {
    const cluster = await startRedisCluster()
    const clients: { disconnect(): void }[] = []
    return {
      async open() {
        const client = await openIoredisCluster(cluster.url)
        clients.push(client)
        return new RedisStore({ client, timeoutMs: TIMEOUT_MS })
      },
      async end() {
        for (const client of clients) client.disconnect()
        await cluster[Symbol.asyncDispose]()
      },
    }
  },
  async 'NATS KV'() {
    const server = await startNats({ jetstream: true })
    return { open: () => openStore({ url: server.url, timeoutMs: TIMEOUT_MS }), end: () => server.stop() }
  },
  async 'NATS KV with leases'() {
    const server = await startNats({ jetstream: true })
    return {
      open: () => openStore({ url: server.url, lease: 'auto', timeoutMs: TIMEOUT_MS }),
      end: () => server.stop(),
    }
  },
  async 'NATS KV by both generations of the client'() {
    const server = await startNats({ jetstream: true })
    let opened = 0
    return {
      async open() {
        const clients = Object.values(CLIENTS)
        const connection = await clients[opened++ % clients.length]!(server.url)
        return new NatsKvStore({ connection, timeoutMs: TIMEOUT_MS, onClose: () => connection.close() })
      },
      end: () => server.stop(),
    }
  },
}

describe.each(Object.keys(STORES))('runtime entries of one node on %s', name => {
  let shared: Shared
  const open: { gate: Gate; store: Store }[] = []

  beforeAll(async () => {
    shared = await STORES[name]!()
  })
  afterAll(async () => {
    for (const each of open) await shut(each)
    await shared.end()
  })

  async function node(its = clock): Promise<{ gate: Gate; store: Store; audit: RuntimeEntryChange[] }> {
    const store = await shared.open()
    const gate = new Gate({ store, clock: its, tiers: {} }).use(
      limit({ name: 'r', rate: '2/h', per: 'client' }),
    )
    const audit: RuntimeEntryChange[] = []
    gate.on('audit', change => audit.push(change))
    open.push({ gate, store })
    return { gate, store, audit }
  }

  async function shut({ gate, store }: { gate: Gate; store: Store }): Promise<void> {
    await gate.close()
    await store.close()
  }

  async function reasonOf(gate: Gate, client: string, more: object = {}): Promise<string> {
    const sender = createSender({ client, ...more })
    return (await gate.check({ topic: 't', on: 'publish', sender, size: 1 })).reason
  }

  it('apply on another node, end on both, and are in the audit log', async () => {
    const [a, b] = [await node(), await node()]
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-audit-'))
    const logs = [a, b].map(({ gate }, index) => keepAuditLog(gate, join(folder, `${index}.jsonl`)))
    await a.gate.bans.add({ client: 'bad', reason: 'floods', addedBy: 'ann', for: '1m' })
    await soon(() => b.gate.bans.list().length === 1)
    await a.gate.overrides.add({ client: 'vip', limit: 'unlimited', reason: 'emergency', for: '1h' })
    await a.gate.exemptions.add({ name: 'batch', clients: ['night'], reason: 'batch', for: '1h' })
    await a.gate.tiers.add({ client: 'paid', tier: 'pro', reason: 'paid' })
    await soon(() => b.gate.tiers.list().length === 1)
    expect(await reasonOf(b.gate, 'bad')).toBe('banned')
    expect(await reasonOf(b.gate, 'vip')).toBe('override')
    expect(await reasonOf(b.gate, 'night')).toBe('exempt')
    expect(b.gate.bans.list()).toEqual(a.gate.bans.list())
    expect(a.audit.map(({ action, id }) => `${action} ${id}`)).toEqual([
      'added client:bad',
      'added client:vip',
      'added batch',
      'added client:paid',
    ])
    await b.gate.overrides.remove('client:vip', { by: 'bob' })
    await soon(() => a.gate.overrides.list().length === 0)
    expect(await reasonOf(a.gate, 'bad')).toBe('banned')
    clock.advance(60_000)
    for (const { gate } of [a, b]) expect(await reasonOf(gate, 'bad')).not.toBe('banned')
    expect(b.audit.map(({ action, id }) => `${action} ${id}`)).toEqual([
      'removed client:vip',
      'expired client:bad',
    ])
    for (const log of logs) await log.close()
    const written = [0, 1].map(index =>
      readFileSync(join(folder, `${index}.jsonl`), 'utf8')
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line) as RuntimeEntryChange),
    )
    expect(written[0]!.find(({ id }) => id === 'client:vip')).toMatchObject({
      ...{ action: 'added', kind: 'override', by: 'unknown', reason: 'emergency' },
    })
    expect(written[1]!.map(({ action, id, by }) => `${action} ${id} by ${by}`)).toEqual([
      'removed client:vip by bob',
      'expired client:bad by clock',
    ])
    rmSync(folder, { recursive: true })
  })

  const announces = name !== 'SQLite'
  if (announces) {
    it('are announced by the store: they apply on another node that does not poll', async () => {
      // Gates whose clock stands still do not poll.
      const still = new FakeClock(Date.now())
      const [a, b] = [await node(still), await node(still)]
      for (let index = 0; index < 20; index++) {
        const [near, far] = index % 2 === 0 ? [a, b] : [b, a]
        await near.gate.bans.add({ client: `next-${index}`, reason: 'x', for: '1m' })
        await until(() => far.gate.bans.get(`client:next-${index}`) !== undefined, { everyMs: 1 })
      }
      const idsOf = ({ gate }: typeof a): string[] => gate.bans.list().map(({ id }) => id)
      expect(idsOf(b).toSorted()).toEqual(idsOf(a).toSorted())
    })
  }

  it('survive a restart of all nodes', async () => {
    const first = await node()
    await first.gate.bans.add({ ip: '10.0.0.0/8', reason: 'attack', for: '1h' })
    await first.gate.bans.add({ client: 'half \ud800', reason: 'odd', for: '1h' })
    for (const each of open.splice(0)) await shut(each)
    const { gate } = await node()
    await soon(async () => (await reasonOf(gate, 'x', { ip: '10.1.2.3' })) === 'banned')
    expect(await reasonOf(gate, 'half \ud800')).toBe('banned')
    expect(gate.exemptions.list()).toMatchObject([{ name: 'batch', reason: 'batch' }])
  })
})

describe('a Redis that has lost everything', () => {
  it('gets the entries of its nodes again', async () => {
    const server = await startRedis()
    const store = await openStore({ url: server.url, timeoutMs: TIMEOUT_MS })
    const other = await openStore({ url: server.url, timeoutMs: TIMEOUT_MS })
    const gate = new Gate({ store, clock })
    const far = new Gate({ store: other, clock })
    await gate.bans.add({ client: 'a', reason: 'before' })
    await soon(() => far.bans.list().length === 1)
    const client = await openNodeRedis(server.url)
    await client.sendCommand(['FLUSHALL'])
    await soon(async () => Number(await client.sendCommand(['HLEN', 'topicgate:notes'])) >= 2)
    expect(far.bans.list()).toMatchObject([{ id: 'client:a' }])
    client.destroy()
    await gate.close()
    await far.close()
    await store.close()
    await other.close()
    await server[Symbol.asyncDispose]()
  })
})

describe('runtime entries behind Sentinel', () => {
  it('are read after a failover, and both nodes subscribe to the new master', async () => {
    await using sentinel = await startRedisSentinel()
    const stores = [await openStore(sentinel.url), await openStore(sentinel.url)]
    const [near, far] = stores.map(store => new Gate({ store, clock }))
    await near!.bans.add({ client: 'before', reason: 'x' })
    await soon(() => far!.bans.list().length === 1)
    const before = await sentinel.masterPort()
    await sentinel.nodes[0]!.stop('SIGKILL')
    await soon(async () => (await sentinel.masterPort()) !== before)
    // Added while there may be no master: it is written later.
    await near!.bans.add({ client: 'meanwhile', reason: 'x' })
    await soon(() => far!.bans.list().length === 2)
    const master = await openIoredis(`redis://127.0.0.1:${await sentinel.masterPort()}`)
    await soon(async () => (await subscribersOf(master)) === 2)
    await near!.bans.add({ client: 'after', reason: 'x' })
    await soon(() => far!.bans.list().length === 3)
    expect(far!.bans.list()).toEqual(near!.bans.list())
    master.disconnect()
    for (const gate of [near, far]) await gate!.close()
    for (const store of stores) await store.close()
  })
})

async function subscribersOf(client: Redis): Promise<number> {
  const [, count] = (await client.pubsub('NUMSUB', 'topicgate:notes')) as [string, number]
  return Number(count)
}
