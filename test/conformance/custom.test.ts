import { afterAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../src/algorithms/create-limit.ts'
import type { CustomAlgorithm } from '../../src/algorithms/custom-algorithm-types.ts'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { Gate } from '../../src/gate/gate.ts'
import { LeasedStore } from '../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import type { Store } from '../../src/stores/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis } from '../support/redis-clients.ts'
import { algorithmConformance } from './algorithm-suite.ts'
import { slidingLog } from './sliding-log-algorithm.ts'

const example = new URL('../../examples/two-speeds.js', import.meta.url).href
const { twoSpeeds } = (await import(/* @vite-ignore */ example)) as { twoSpeeds: CustomAlgorithm }

const server = await startRedis()
const client = await openIoredis(server.url)
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

let opened = 0
const openRedis = (clock: Clock): Store =>
  new RedisStore({ client, clock, prefix: `custom-${++opened}`, timeoutMs: 20_000, denialCache: 0 })

/** Stores on which a custom algorithm must give the same answers. */
const stores: Readonly<Record<string, (clock: Clock) => MaybePromise<Store>>> = {
  memory: clock => new MemoryStore({ clock }),
  sqlite: clock => openSqlite(':memory:', { clock }),
  redis: openRedis,
  leased: clock => new LeasedStore({ store: new MemoryStore({ clock }), clock }),
  'leased redis': clock => new LeasedStore({ store: openRedis(clock), clock }),
}

algorithmConformance(twoSpeeds, { stores, mostPerPeriod: ({ capacity, count }) => capacity + count })
algorithmConformance(slidingLog, { stores, mostPerPeriod: ({ capacity }) => capacity })

describe('an incomplete algorithm', () => {
  const limitOf = (algorithm: CustomAlgorithm): ReturnType<typeof createLimit> =>
    createLimit({ name: 'r', algorithm, count: 5, periodMs: 60_000 })
  const { lua: _lua, luaRefund: _luaRefund, ...plain } = twoSpeeds

  it('is rejected by Redis without Lua code of its step, or of its refund', async () => {
    const store = openRedis(new FakeClock())
    expect(store.refuses?.(limitOf(twoSpeeds))).toBeUndefined()
    expect(store.refuses?.(limitOf(plain))).toContain('"two-speeds" has no Lua code')
    const halved = { ...plain, lua: twoSpeeds.lua! }
    expect(store.refuses?.(limitOf(halved))).toContain(
      'the refund of the algorithm "two-speeds" has no Lua code',
    )
    await store.close()
  })

  it('is rejected when a policy loads or a limit is used, with its path and the remedy', async () => {
    const store = openRedis(new FakeClock())
    const policy = 'rules:\n  - name: mine\n    limit: 1/s\n    algorithm: two-speeds\n'
    const says = '2:5: rules[0]: the algorithm "two-speeds" has no Lua code (set `lua`)'
    await expect(Gate.fromPolicy(policy, { store, algorithms: [plain] })).rejects.toThrow(says)
    const gate = await Gate.fromPolicy(policy, { store, algorithms: [twoSpeeds] })
    const message = { topic: 'a', on: 'publish', sender: { client: 'c' }, size: 0 } as const
    expect(await gate.check(message)).toMatchObject({ allowed: true, rule: 'mine', remaining: 0 })
    expect(await gate.check(message)).toMatchObject({ allowed: false, reason: 'rate_limit_exceeded' })
    expect(() => gate.use(limit({ name: 'other', rate: '1/s', algorithm: plain }))).toThrow('has no Lua code')
    await gate.close()
  })

  it('runs in memory and in SQLite without Lua code', async () => {
    for (const name of ['memory', 'sqlite']) {
      const store = await stores[name]!(new FakeClock())
      expect(store.refuses?.(limitOf(plain))).toBeUndefined()
      await store.close()
    }
  })

  it.each([
    ['that is no Lua', 'return {', /two-speeds|Lua|script|near/i],
    ['that fails', 'error("mine")', /the algorithm "two-speeds" failed: .*mine/],
    ['that returns nothing', 'return nil', /the algorithm "two-speeds" returned no answer/],
    [
      'that returns NaN',
      'return { state = {0/0}, allowed = true, remaining = 1, retryAfterMs = 0, resetMs = 1, expireInMs = 1 }',
      /the algorithm "two-speeds" returned a state of more than numbers/,
    ],
    [
      'that leaves less than nothing',
      'return { state = {1}, allowed = true, remaining = -1, retryAfterMs = 0, resetMs = 1, expireInMs = 1 }',
      /the algorithm "two-speeds" returned no whole number as remaining/,
    ],
  ])('Lua code %s is a StoreError, and affects no other rule', async (_what, lua, says) => {
    const store = openRedis(new FakeClock())
    const broken = { limit: limitOf({ ...twoSpeeds, lua }), key: '', cost: 1 }
    const sound = {
      limit: createLimit({ name: 's', algorithm: 'token-bucket', count: 5, periodMs: 60_000 }),
      key: '',
      cost: 1,
    }
    const late = async (): Promise<unknown> => store.decide([broken], { commit: true })
    await expect(late()).rejects.toMatchObject({ name: 'StoreError', message: expect.stringMatching(says) })
    expect(await store.decide([sound], { commit: true })).toMatchObject([{ allowed: true, remaining: 4 }])
    await store.close()
  })
})
