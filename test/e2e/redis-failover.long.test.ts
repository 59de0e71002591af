import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../src/algorithms/index.ts'
import { slotOf } from '../../src/stores/redis/cluster-slot.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { connectRedisStore } from '../../src/stores/redis/open.ts'
import { openIoredisCluster } from '../support/redis-clients.ts'
import { type RedisCluster, startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisSentinel } from '../support/redis-sentinel.ts'
import { runStoreLoad } from '../support/store-load.ts'
import { until } from '../support/wait.ts'

const TIMEOUT_MS = 250
/** How late a timer may be on a machine that is busy starting servers. */
const SLACK_MS = 20_000
const KEYS = Array.from({ length: 30 }, (_, index) => `device-${index}`)
const BURST = 150
/** So slow that nothing comes back during the test. */
const limit = createLimit({
  ...{ name: 'r', algorithm: 'token-bucket', count: 1, periodMs: 86_400_000 },
  burst: BURST,
})

const isOk = (store: RedisStore) => async (): Promise<boolean> => (await store.health()).ok

/**
 * Asks a store without pause while `fail` takes a master away and waits for another, and for a while after. Nothing may hang
 * or die, what was lost may let a tenth more pass, and in the end every key is at its limit.
 */
async function liveThrough(
  name: string,
  url: string,
  fail: (store: RedisStore) => Promise<void>,
): Promise<void> {
  const store = await connectRedisStore(url, { timeoutMs: TIMEOUT_MS, denialCache: 0 })
  await until(isOk(store))
  let over = false
  const loaded = runStoreLoad(store, limit, KEYS, { inFlight: 20, isOver: () => over })
  await setTimeout(200)
  await fail(store)
  await setTimeout(3_000)
  over = true
  const load = await loaded
  expect(load.failed).toBeGreaterThan(0)
  expect(load.longestMs).toBeLessThan(TIMEOUT_MS + SLACK_MS)
  // Each key is now at its end: what asks is refused, and refused by counting.
  expect(await askAll(store)).toEqual(KEYS.map(() => false))
  const held = KEYS.length * BURST
  const excess = Math.max(0, load.admitted - held)
  console.log(`${name}: ${excess} admitted in excess of ${held}, ${load.failed} rejected`)
  expect(excess).toBeLessThanOrEqual(held / 10)
  await store.close()
}

describe('a failover by Sentinel', () => {
  it('is lived through: nothing hangs, nothing dies, and limits hold again', async () => {
    await using sentinel = await startRedisSentinel()
    await liveThrough('Sentinel', sentinel.url, async store => {
      const before = await sentinel.masterPort()
      await sentinel.nodes[0]!.stop('SIGKILL')
      await until(async () => (await sentinel.masterPort()) !== before, { timeoutMs: 60_000 })
      await until(isOk(store), { timeoutMs: 60_000, everyMs: 50 })
    })
  })
})

describe('a cluster', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicas: true, nodeTimeoutMs: 500 })
  })
  afterAll(() => cluster.stop())

  it('whose slot is moved while it is asked gives no more and refuses no sooner', async () => {
    const client = await openIoredisCluster(cluster.url)
    const store = new RedisStore({ client, timeoutMs: 20_000, prefix: 'moving', denialCache: 0 })
    const slot = slotOf('moving:{device-1}r')
    const from = Math.floor(slot / Math.ceil(16_384 / 3))
    let over = false
    const many = createLimit({
      ...{ name: 'r', algorithm: 'token-bucket' },
      count: 400,
      periodMs: 86_400_000,
    })
    const loaded = runStoreLoad(store, many, ['device-1'], { inFlight: 10, isOver: () => over })
    await cluster.moveSlot(slot, from, (from + 1) % 3)
    await setTimeout(500)
    await cluster.moveSlot(slot, (from + 1) % 3, from)
    await setTimeout(500)
    over = true
    const load = await loaded
    expect([...load.errors]).toEqual([])
    const [left] = await store.decide([{ limit: many, key: 'device-1', cost: 0 }], { commit: false })
    expect(load.admitted + left!.remaining).toBe(400)
    expect(load.admitted).toBeGreaterThan(100)
    client.disconnect()
  })

  it('charges a message over several slots all or none, many at once', async () => {
    const client = await openIoredisCluster(cluster.url)
    const store = new RedisStore({ client, timeoutMs: 20_000, prefix: 'spread', denialCache: 0 })
    const [total, own] = ['total', 'own'].map(name =>
      createLimit({ ...{ name, algorithm: 'token-bucket', count: 60, periodMs: 86_400_000 } }),
    )
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) => {
        const key = KEYS[index % KEYS.length]!
        return store.decide(
          [
            { limit: total!, key: '', cost: 1 },
            { limit: own!, key, cost: 1 },
          ],
          { commit: true },
        )
      }),
    )
    const passed = answers.filter(verdicts => verdicts.every(({ allowed }) => allowed))
    const left = async (each: typeof limit, key: string): Promise<number> =>
      (await store.decide([{ limit: each, key, cost: 0 }], { commit: false }))[0]!.remaining
    const owns = await Promise.all(KEYS.map(key => left(own!, key)))
    expect(passed.length).toBeLessThanOrEqual(60)
    expect(60 - (await left(total!, ''))).toBe(passed.length)
    expect(owns.reduce((sum, rest) => sum + 60 - rest, 0)).toBe(passed.length)
    expect(passed.length).toBeGreaterThan(50)
    client.disconnect()
  })

  it('whose master dies is lived through: nothing hangs, nothing dies, and limits hold again', async () => {
    await liveThrough('Cluster', cluster.url, async store => {
      await cluster.nodes[0]!.stop('SIGKILL')
      const role = async (): Promise<string> => cluster.admin(3).info('replication')
      await until(async () => (await role()).includes('role:master'), { timeoutMs: 60_000 })
      const answers = async (): Promise<boolean> => (await askAll(store).catch(() => [])).length > 0
      await until(answers, { timeoutMs: 60_000, everyMs: 50 })
    })
  })
})

async function askAll(store: RedisStore): Promise<boolean[]> {
  const answers = await Promise.all(
    KEYS.map(key => store.decide([{ limit, key, cost: 1 }], { commit: true })),
  )
  return answers.map(verdicts => verdicts[0]!.allowed)
}
