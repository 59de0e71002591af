import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLimit, type LimitSpec } from '../../../../src/algorithms/index.ts'
import { StoreError, UnsupportedError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { RedisStore, type RedisStoreOptions } from '../../../../src/stores/redis/index.ts'
import type { Charge } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { startRedis } from '../../../support/redis.ts'
import { openIoredis, openNodeRedis } from '../../../support/redis-clients.ts'
import { until } from '../../../support/wait.ts'

const server = await startRedis({ args: ['--enable-debug-command', 'yes'] })
const client = await openIoredis(server.url)
const admin = await openIoredis(server.url)
afterAll(async () => {
  client.disconnect()
  admin.disconnect()
  await server.stop()
})
beforeEach(async () => {
  await admin.flushall()
  await admin.config('RESETSTAT')
})

const opened: RedisStore[] = []
afterEach(() => Promise.all(opened.splice(0).map(store => store.close())))

function open(options: Partial<RedisStoreOptions> = {}): RedisStore {
  const store = new RedisStore({ client, timeoutMs: 20_000, denialCache: 0, ...options })
  opened.push(store)
  return store
}

function charge(spec: Partial<LimitSpec> = {}, key = '', cost = 1): Charge {
  const limit = createLimit({ name: 'r', algorithm: 'token-bucket', count: 3, periodMs: 60_000, ...spec })
  return { limit, key, cost }
}

async function calls(command: string): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(stats.match(new RegExp(`cmdstat_${command}:calls=(\\d+)`))?.[1] ?? 0)
}

const COMMIT = { commit: true }

describe('a Redis store', () => {
  it('sends all limits of all messages of a tick in one call', async () => {
    const store = open()
    const charges = ['a', 'b', 'c'].map(name => charge({ name, count: 100 }))
    await store.decide(charges, COMMIT)
    await admin.config('RESETSTAT')
    const answers = await Promise.all(Array.from({ length: 64 }, () => store.decide(charges, COMMIT)))
    expect(answers.map(verdicts => verdicts[2]!.remaining)).toEqual(
      Array.from({ length: 64 }, (_, index) => 98 - index),
    )
    expect(await calls('evalsha')).toBe(1)
    expect(await calls('mget')).toBe(1)
    expect(await calls('set')).toBe(3)
  })

  it('sends a bounded number of messages and charges per call', async () => {
    const store = open()
    await store.decide([charge()], COMMIT)
    await admin.config('RESETSTAT')
    const limit = charge({ count: 1_000_000 }).limit
    const many = Array.from({ length: 2 * MAX_SIZES.redisCallMessages + 1 }, () => ({
      limit,
      key: 'k',
      cost: 1,
    }))
    await Promise.all(many.map(each => store.decide([each], COMMIT)))
    expect(await calls('evalsha')).toBe(3)
    const wide = Array.from({ length: MAX_SIZES.redisCallCharges }, (_, index) => ({
      limit,
      key: `${index}`,
      cost: 1,
    }))
    await Promise.all([store.decide(wide, COMMIT), store.decide(wide, COMMIT)])
    expect(await calls('evalsha')).toBe(5)
    await expect(store.decide([...wide, wide[0]!], COMMIT)).rejects.toThrow(
      `the maximum is ${MAX_SIZES.redisCallCharges}`,
    )
  })

  it('keeps a bounded number of pending decisions: further ones are rejected at once', async () => {
    const store = open()
    const one = [charge({ count: 1_000_000 })]
    const asked = Array.from({ length: MAX_SIZES.pendingStoreDecisions }, () => store.decide(one, COMMIT))
    await expect(store.decide(one, COMMIT)).rejects.toThrow('are already waiting')
    expect((await Promise.all(asked)).every(([verdict]) => verdict!.allowed)).toBe(true)
    expect(await store.health()).toMatchObject({ ok: true, pending: 0, clockOffsetMs: expect.any(Number) })
  })

  it('leaves no keys behind: every key expires by itself', async () => {
    const store = open()
    const DAY_MS = 86_400_000
    const specs: Partial<LimitSpec>[] = [
      { algorithm: 'token-bucket', count: 10 },
      { algorithm: 'leaky-bucket', count: 10 },
      { algorithm: 'fixed-window', count: 10 },
      { algorithm: 'sliding-log', count: 10 },
      { algorithm: 'sliding-counter', count: 10 },
    ]
    const chargeAll = async (periodMs: number): Promise<void> => {
      for (const [index, spec] of specs.entries()) {
        for (const key of ['a', 'b']) {
          await store.decide([charge({ ...spec, name: `r${index}-${periodMs}`, periodMs }, key, 3)], COMMIT)
        }
      }
    }
    await chargeAll(600_000)
    const quota = charge({
      name: 'q',
      algorithm: 'quota',
      periodMs: DAY_MS,
      calendar: { unit: 'day', zone: 'UTC' },
    })
    await store.decide([quota], COMMIT)
    expect(await admin.dbsize()).toBe(11)
    for (const key of await admin.keys('*')) {
      const ttlMs = await admin.pttl(key)
      expect(ttlMs).toBeGreaterThan(0)
      expect(ttlMs).toBeLessThan(key.endsWith('q') ? DAY_MS + 2_000 : 1_300_000)
    }
    await admin.flushall()
    await chargeAll(700)
    await until(async () => (await admin.dbsize()) === 0, { timeoutMs: 60_000, what: 'an empty Redis' })
  })

  it('keeps a key of a bucket that starts below full for 30 days, even if it is full again', async () => {
    const clock = new FakeClock(Date.now())
    const store = open({ clock })
    const slow = charge({ initial: 0 })
    const dayMs = 86_400_000
    await store.decide([slow], COMMIT)
    const [key] = await admin.keys('*')
    for (const idleMs of [0, 3 * dayMs]) {
      clock.advance(idleMs)
      await store.refund([slow])
      const ttlMs = await admin.pttl(key!)
      expect(ttlMs).toBeGreaterThan(26 * dayMs)
      expect(ttlMs).toBeLessThan(32 * dayMs)
    }
    expect((await store.decide([slow], COMMIT))[0]).toMatchObject({ allowed: true, remaining: 2 })
    await store.close()
  })

  it('writes nothing for a peek, for a denied message, and for a cost of 0', async () => {
    const store = open()
    await store.decide([charge()], { commit: false })
    await store.decide([charge({}, '', 9)], COMMIT)
    await store.decide([charge({}, '', 0)], COMMIT)
    expect(await admin.dbsize()).toBe(0)
    expect(await calls('set')).toBe(0)
  })

  it('continues after the scripts were flushed, without losing a decision', async () => {
    const store = open()
    // So slow that nothing refills during the test.
    const one = charge({ count: 1_000, periodMs: 86_400_000 })
    await store.decide([one], COMMIT)
    let asked = 1
    for (let times = 0; times < 10; times++) {
      const flushed = admin.script('FLUSH')
      asked += 20
      await Promise.all(Array.from({ length: 20 }, () => store.decide([one], COMMIT)))
      await flushed
    }
    expect((await store.decide([{ ...one, cost: 0 }], { commit: false }))[0]!.remaining).toBe(1_000 - asked)
  })

  it('keeps the keys of other prefixes and other programs', async () => {
    const [one, other] = [open({ prefix: 'a' }), open({ prefix: 'a:' })]
    await admin.set('a', 'theirs')
    await admin.set('a:{x}', 'theirs')
    await one.decide([charge({ count: 1 })], COMMIT)
    expect((await other.decide([charge({ count: 1 })], COMMIT))[0]!.allowed).toBe(true)
    expect(await one.forget({})).toBe(1)
    expect((await other.decide([charge({ count: 1 })], COMMIT))[0]!.allowed).toBe(false)
    expect((await admin.keys('*')).sort()).toEqual(['a', 'a::{~}r', 'a:{x}'])
  })

  it('forgets more keys than one scan step visits, and counts each once', async () => {
    const store = open()
    const { limit } = charge()
    const keys = Array.from({ length: 1_500 }, (_, index) => `key ${index}`)
    await Promise.all(keys.map(key => store.decide([{ limit, key, cost: 1 }], COMMIT)))
    expect(await store.forget({ key: 'key 7' })).toBe(1)
    expect(await store.forget({ rule: 'r' })).toBe(1_499)
    expect(await admin.dbsize()).toBe(0)
  })

  it("counts by the server's clock, whatever the local clock shows", async () => {
    const store = open()
    const one = charge({ count: 1 })
    await store.decide([one], { commit: true, nowMs: 5 })
    const [verdict] = await store.decide([one], { commit: true, nowMs: 5_000_000_000_000 })
    expect(verdict!.allowed).toBe(false)
    expect(verdict!.retryAfterMs).toBeGreaterThan(55_000)
  })

  it('counts by the clock of its callers if configured', async () => {
    const clock = new FakeClock(1_000_000)
    const store = open({ clock })
    const one = charge({ count: 1 })
    expect((await store.decide([one], COMMIT))[0]!.allowed).toBe(true)
    clock.advance(59_999)
    expect((await store.decide([one], COMMIT))[0]).toMatchObject({ allowed: false, retryAfterMs: 1 })
    clock.advance(1)
    expect((await store.decide([one], COMMIT))[0]!.allowed).toBe(true)
  })

  it('computes the windows of a time zone on both sides of a clock change', async () => {
    const clock = new FakeClock(Date.UTC(2026, 2, 28, 22, 59, 59, 999))
    const store = open({ clock })
    const calendar = { unit: 'day', zone: 'Europe/Berlin' } as const
    const one = charge({ algorithm: 'quota', count: 1, periodMs: 86_400_000, calendar })
    expect((await store.decide([one], COMMIT))[0]!.allowed).toBe(true)
    expect((await store.decide([one], COMMIT))[0]!.retryAfterMs).toBe(1)
    clock.advance(1)
    expect((await store.decide([one], COMMIT))[0]!.allowed).toBe(true)
    // A day of 23 hours.
    expect((await store.decide([one], COMMIT))[0]!.retryAfterMs).toBe(23 * 3_600_000)
  })

  it('returns an error of Redis as a StoreError at once', async () => {
    const store = open()
    await store.decide([charge()], COMMIT)
    await admin.config('SET', 'maxmemory', '1')
    await expect(store.decide([charge()], COMMIT)).rejects.toThrow(/^redis: OOM/)
    await admin.config('SET', 'maxmemory', '0')
    await admin.set('topicgate:{~}foreign', 'not ours')
    await expect(store.decide([charge({ name: 'foreign' })], COMMIT)).rejects.toThrow('a prefix of its own')
    await expect(store.decide([charge()], COMMIT)).resolves.toHaveLength(1)
  })

  it('reconnects after it wrote to a replica', async () => {
    const store = open()
    await store.decide([charge()], COMMIT)
    await admin.replicaof('127.0.0.1', 1)
    await expect(store.decide([charge()], COMMIT)).rejects.toThrow(/^redis: READONLY/)
    await admin.replicaof('NO', 'ONE')
    await until(() => client.status === 'ready')
    await expect(store.decide([charge()], COMMIT)).resolves.toHaveLength(1)
  })

  it.each([
    ['ioredis', openIoredis],
    ['node-redis', openNodeRedis],
  ] as const)(
    'leaves no more listeners on a client of %s, however many stores used it',
    async (_, connect) => {
      const shared = await connect(server.url)
      const countListeners = (): number =>
        ['error', 'connect', 'ready', 'close', 'end'].reduce(
          (sum, name) => sum + shared.listenerCount(name),
          0,
        )
      await new RedisStore({ client: shared }).close()
      const before = countListeners()
      for (let times = 0; times < 10; times++) await new RedisStore({ client: shared }).close()
      expect(countListeners()).toBe(before)
      await shared.quit()
    },
  )

  it('rejects invalid clients, options and algorithms', async () => {
    expect(() => new RedisStore({ client: {} as never })).toThrow(UnsupportedError)
    expect(() => open({ timeoutMs: 0 })).toThrow('timeoutMs')
    expect(() => open({ denialCache: -1 })).toThrow('denialCache')
    const algorithm = (name: string, more: object = {}) => ({
      name,
      step: () => ({ state: [], allowed: true, remaining: 0, retryAfterMs: 0, resetMs: 0, expireInMs: 0 }),
      ...more,
    })
    const store = open()
    const mute = charge({ algorithm: algorithm('mute') })
    expect(store.refuses(mute.limit)).toContain('no Lua code')
    await expect(store.decide([mute], COMMIT)).rejects.toThrow(StoreError)
    const large = algorithm('large', { lua: 'return nil', stateSize: MAX_SIZES.redisStateNumbers + 1 })
    expect(store.refuses(charge({ algorithm: large }).limit)).toContain(`${MAX_SIZES.redisStateNumbers}`)
    const lua =
      'return {state = {}, allowed = true, remaining = 0, retryAfterMs = 0, resetMs = 0, expireInMs = 0}'
    for (let index = 0; index < MAX_SIZES.redisCustomAlgorithms; index++) {
      const twin = charge({ algorithm: algorithm(`twin-${index}`, { lua }) })
      expect((await store.decide([twin], COMMIT))[0]!.allowed).toBe(true)
    }
    const beyond = charge({ algorithm: algorithm('beyond', { lua }) })
    expect(store.refuses(beyond.limit)).toContain(`${MAX_SIZES.redisCustomAlgorithms} custom algorithms`)
    await expect(store.decide([beyond], COMMIT)).rejects.toThrow(StoreError)
  })
})

describe('cached refusals', () => {
  it('answer without asking Redis, for the same cost or more', async () => {
    const store = open({ denialCache: 100 })
    const one = charge({ count: 10, periodMs: 600_000 })
    await store.decide([{ ...one, cost: 8 }], COMMIT)
    const [denied] = await store.decide([{ ...one, cost: 5 }], COMMIT)
    expect(denied!.allowed).toBe(false)
    await admin.config('RESETSTAT')
    const [again] = await store.decide([{ ...one, cost: 5 }], COMMIT)
    expect(again).toMatchObject({ allowed: false, remaining: denied!.remaining })
    expect(again!.retryAfterMs).toBeLessThanOrEqual(denied!.retryAfterMs)
    expect(await calls('evalsha')).toBe(0)
    expect(await store.health()).toMatchObject({ refusedHere: 1 })
    expect((await store.decide([{ ...one, cost: 1 }], COMMIT))[0]!.allowed).toBe(true)
  })

  it('end when the message would be allowed', async () => {
    const clock = new FakeClock(Date.now())
    const store = open({ denialCache: 100, clock })
    const one = charge({ count: 10, periodMs: 10_000 })
    await store.decide([{ ...one, cost: 8 }], COMMIT)
    const decide = async () => (await store.decide([{ ...one, cost: 5 }], COMMIT))[0]!
    const { retryAfterMs } = await decide()
    clock.advance(retryAfterMs - 1)
    expect(await decide()).toMatchObject({ allowed: false, retryAfterMs: 1 })
    expect(await store.health()).toMatchObject({ refusedHere: 1 })
    clock.advance(1)
    expect((await decide()).allowed).toBe(true)
  })

  it('end with a local refund, with forgetting, and with another limit', async () => {
    const store = open({ denialCache: 100 })
    const one = charge({ count: 1 })
    const refused = async (each = one): Promise<boolean> => !(await store.decide([each], COMMIT))[0]!.allowed
    expect([await refused(), await refused(), await refused()]).toEqual([false, true, true])
    await store.refund([one])
    expect([await refused(), await refused()]).toEqual([false, true])
    await store.forget({ rule: 'r', key: '' })
    expect([await refused(), await refused()]).toEqual([false, true])
    expect(await refused(charge({ count: 1, burst: 5 }))).toBe(false)
    // A peek always asks the server.
    await admin.flushall()
    expect((await store.decide([one], { commit: false }))[0]!.allowed).toBe(true)
  })
})
