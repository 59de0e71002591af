import { afterAll, describe, expect, it } from 'vitest'
import { adaptive, Gate, limit, MemoryStore, type Message, type Store } from '../../src/index.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis } from '../support/redis-clients.ts'

const SENT: Message = { topic: 't', on: 'publish', sender: { client: 'c' }, size: 1 }
const EVERY_MS = 1_000

const server = await startRedis()
const client = await openIoredis(server.url)
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

const STORES: readonly [string, (clock: FakeClock) => Store | Promise<Store>][] = [
  ['memory', clock => new MemoryStore({ clock })],
  ['sqlite', clock => openSqlite(':memory:', { clock })],
  [
    'redis',
    clock => new RedisStore({ client, clock, prefix: 'adaptive', timeoutMs: 20_000, denialCache: 0 }),
  ],
]

describe.each(STORES)('limits that adapt on the %s store', (_, open) => {
  it('neither give back nor take away what was used when the factor changes', async () => {
    const clock = new FakeClock()
    const store = await open(clock)
    let load = 0.5
    const scale = adaptive({ signal: () => load, everyMs: EVERY_MS })
    const gate = new Gate({ clock, store }).use(scale, limit({ name: 'all', rate: '1/day burst 100' }))
    const passed = async (): Promise<number> => {
      for (let count = 0; ; count++) if (!(await gate.check(SENT)).allowed) return count
    }
    try {
      for (let n = 0; n < 30; n++) expect((await gate.check(SENT)).allowed).toBe(true)
      load = 0.9
      clock.advance(EVERY_MS)
      // 50 in all, 30 of them used; later 150 in all, 50 of them used.
      expect(await passed()).toBe(20)
      load = 0.1
      clock.advance(2 * EVERY_MS)
      expect(await passed()).toBe(100)
      load = 0.9
      clock.advance(EVERY_MS)
      expect(await passed()).toBe(0)
    } finally {
      await gate.close()
      await store.close()
    }
  })
})
