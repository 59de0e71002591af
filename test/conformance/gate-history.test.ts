import { afterAll, describe, expect, it } from 'vitest'
import { Gate } from '../../src/gate/gate.ts'
import { LeasedStore } from '../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { usualOrLong } from '../support/long-run.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis } from '../support/redis-clients.ts'
import { type OpenStore, playOnAll } from './gate-history.ts'

const server = await startRedis()
const client = await openIoredis(server.url)
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

let stores = 0
const STORES: Readonly<Record<string, OpenStore>> = {
  sqlite: clock => openSqlite(':memory:', { clock }),
  memory: clock => new MemoryStore({ clock }),
  leased: clock => new LeasedStore({ store: new MemoryStore({ clock }), units: 1, clock }),
  redis: clock => {
    stores++
    return new RedisStore({ client, clock, prefix: `gate-${stores}`, timeoutMs: 20_000, denialCache: 0 })
  },
}
const SEEDS = Array.from({ length: usualOrLong(8, 20) }, (_, index) => index + 1)

describe('a history of a gate gets the same complete decisions from every store', {
  timeout: 120_000,
}, () => {
  it('with tiers whose factors make fractions of costs', async () => {
    for (const seed of SEEDS) await playOnAll(STORES, seed, { tiers: true })
  })

  it('with buckets that start below full', async () => {
    for (const seed of SEEDS) await playOnAll(STORES, seed, { initial: true })
  })

  it('with policies that change', async () => {
    for (const seed of SEEDS) await playOnAll(STORES, seed, { reload: true, initial: true })
  })

  it('with policies that change, and tiers', async () => {
    for (const seed of SEEDS) await playOnAll(STORES, seed, { reload: true, tiers: true })
  })
})

describe('a tier with a cost factor', () => {
  it('keeps the state of keys when messages meet a new combination of patterns', async () => {
    const clock = new FakeClock()
    const gate = await Gate.fromPolicy(
      {
        rules: [
          { name: 'all', topic: 'fleet/#', per: 'client', limit: '2/min' },
          { name: 'x', topic: 'fleet/x/#', limit: '1000/s' },
        ],
        tiers: { half: { limit: 'unlimited', cost: 'x0.5' } },
      },
      { clock },
    )
    const check = (topic: string, name = 'me', tier?: string) =>
      gate.check({ topic, on: 'publish', sender: { client: name, ...(tier && { tier }) }, size: 1 })
    for (let times = 0; times < 2; times++) expect(check('fleet/a')).toMatchObject({ allowed: true })
    clock.advance(200)
    expect(check('fleet/a')).toMatchObject({ allowed: false, retryAfterMs: 29_800 })
    clock.advance(25_000)
    expect(check('fleet/x/y', 'another')).toMatchObject({ allowed: true })
    clock.advance(4_800)
    expect(check('fleet/a')).toMatchObject({ allowed: true, resetMs: 60_000 })
    expect(check('fleet/b', 'halved', 'half')).toMatchObject({ allowed: true, resetMs: 15_000 })
    expect(check('fleet/x/z', 'halved', 'half')).toMatchObject({ allowed: true, resetMs: 30_000 })
    await gate.close()
  })
})
