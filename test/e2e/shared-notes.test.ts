import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Change } from '../../src/gate/note.ts'
import { createSender, Gate, limit, openStore, type Store } from '../../src/index.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredisCluster, openNodeRedis } from '../support/redis-clients.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { until } from '../support/wait.ts'

/** What is promised, with room for a machine that is busy. */
const SOON_MS = 1_000

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
    return { open: () => openStore(server.url), end: () => server[Symbol.asyncDispose]() }
  },
  async 'Redis with leases'() {
    const server = await startRedis()
    return {
      open: () => openStore({ url: server.url, lease: 'auto' }),
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
        return new RedisStore({ client })
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
        return new RedisStore({ client })
      },
      async end() {
        for (const client of clients) client.disconnect()
        await cluster[Symbol.asyncDispose]()
      },
    }
  },
}

describe.each(Object.keys(STORES))('what is said on one node of %s', name => {
  let shared: Shared
  const open: { gate: Gate; store: Store }[] = []

  beforeAll(async () => {
    shared = await STORES[name]!()
  })
  afterAll(async () => {
    for (const each of open) await shut(each)
    await shared.end()
  })

  async function node(): Promise<{ gate: Gate; store: Store; audit: Change[] }> {
    const store = await shared.open()
    const gate = new Gate({ store, tiers: {} }).use(limit({ name: 'r', rate: '2/h', per: 'client' }))
    const audit: Change[] = []
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

  it('acts on another within a second, and ends on both', async () => {
    const [a, b] = [await node(), await node()]
    const began = Date.now()
    await a.gate.bans.add({ client: 'bad', reason: 'floods', addedBy: 'ann', for: 3_000 })
    await a.gate.overrides.add({ client: 'vip', limit: 'unlimited', reason: 'emergency', for: '1h' })
    await a.gate.exemptions.add({ name: 'batch', clients: ['night'], reason: 'batch', for: '1h' })
    await a.gate.tiers.add({ client: 'paid', tier: 'pro', reason: 'paid' })
    await until(
      async () => (await reasonOf(b.gate, 'bad')) === 'banned' && b.gate.tiers.list().length === 1,
      {
        timeoutMs: SOON_MS + 2_000,
      },
    )
    expect(Date.now() - began).toBeLessThan(SOON_MS + 500)
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
    await until(() => a.gate.overrides.list().length === 0, { timeoutMs: 3_000 })
    await until(
      async () =>
        (await reasonOf(a.gate, 'bad')) !== 'banned' && (await reasonOf(b.gate, 'bad')) !== 'banned',
      {
        timeoutMs: 5_000,
      },
    )
    expect(Date.now() - began).toBeGreaterThanOrEqual(3_000)
    expect(b.audit.map(({ action, id }) => `${action} ${id}`)).toEqual([
      'removed client:vip',
      'expired client:bad',
    ])
  })

  it('survives a restart of all of them', async () => {
    const first = await node()
    await first.gate.bans.add({ ip: '10.0.0.0/8', reason: 'attack', for: '1h' })
    await first.gate.bans.add({ client: 'half \ud800', reason: 'odd', for: '1h' })
    for (const each of open.splice(0)) await shut(each)
    const { gate } = await node()
    await until(async () => (await reasonOf(gate, 'x', { ip: '10.1.2.3' })) === 'banned', {
      timeoutMs: 3_000,
    })
    expect(await reasonOf(gate, 'half \ud800')).toBe('banned')
    expect(gate.exemptions.list()).toMatchObject([{ name: 'batch', reason: 'batch' }])
  })
})

describe('a Redis that has lost everything', () => {
  it('is told again by the nodes what they know', async () => {
    const server = await startRedis()
    const store = await openStore(server.url)
    const other = await openStore(server.url)
    const gate = new Gate({ store })
    const far = new Gate({ store: other })
    await gate.bans.add({ client: 'a', reason: 'before' })
    await until(() => far.bans.list().length === 1, { timeoutMs: 3_000 })
    const client = await openNodeRedis(server.url)
    await client.sendCommand(['FLUSHALL'])
    await until(async () => Number(await client.sendCommand(['HLEN', 'topicgate:notes'])) >= 2, {
      timeoutMs: 5_000,
    })
    expect(far.bans.list()).toMatchObject([{ id: 'client:a' }])
    client.destroy()
    await gate.close()
    await far.close()
    await store.close()
    await other.close()
    await server[Symbol.asyncDispose]()
  })
})
