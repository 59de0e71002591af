import { Kvm } from '@nats-io/kv'
import { connect } from '@nats-io/transport-node'
import { afterAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../../../src/algorithms/index.ts'
import { StoreError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { NatsKvStore, type NatsKvStoreOptions } from '../../../../src/stores/nats-kv/index.ts'
import type { Charge, Verdict } from '../../../../src/stores/store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { startNats } from '../../../support/nats.ts'
import { random } from '../../../support/random.ts'
import { until } from '../../../support/wait.ts'
import { askApi, CLIENTS } from './harness.ts'

const server = await startNats({ jetstream: true })
const connection = await connect({ servers: server.url })
afterAll(async () => {
  await connection.close()
  await server.stop()
})

const COMMIT = { commit: true }
const HOUR_MS = 3_600_000
const DAY_NS = 86_400_000 * 1_000_000
let buckets = 0

function open(more: Partial<NatsKvStoreOptions> = {}): NatsKvStore {
  const bucket = `b-${++buckets}`
  return new NatsKvStore({ connection, bucket, clock: new FakeClock(), timeoutMs: 10_000, ...more })
}

function chargeOf(name: string, count: number, more: Partial<Charge> = {}, periodMs = HOUR_MS): Charge {
  return {
    limit: createLimit({ name, algorithm: 'fixed-window', count, periodMs }),
    key: 'k',
    cost: 1,
    ...more,
  }
}

const isAllowed = (verdicts: readonly Verdict[]): boolean => verdicts.every(({ allowed }) => allowed)

interface Config {
  readonly config: {
    readonly max_age: number
    readonly max_msgs: number
    readonly max_msgs_per_subject: number
  }
}

describe('a NATS KV store', () => {
  it.each(Object.entries(CLIENTS))('counts the same through %s, in one bucket', async (_, connectTo) => {
    const bucket = `b-${++buckets}`
    const own = await connectTo(server.url)
    const [first, second] = [open({ bucket }), open({ bucket, connection: own })]
    const charge = chargeOf('r', 3)
    expect(await first.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 2 }])
    expect(await second.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 1 }])
    await second.refund([charge])
    expect(await first.decide([{ ...charge, cost: 3 }], COMMIT)).toMatchObject([
      { allowed: false, remaining: 2 },
    ])
    expect(await second.forget({ rule: 'r' })).toBe(1)
    expect(await first.decide([charge], { commit: false })).toMatchObject([{ remaining: 2 }])
    await second.close()
    expect(own.isClosed(), 'a connection of the user stays open').toBe(false)
    await own.close()
  })

  it('is visible to NATS clients as a key-value bucket, and a deleted key counts as unseen', async () => {
    const bucket = `b-${++buckets}`
    const store = open({ bucket })
    const charge = chargeOf('per device', 3, { key: 'device.7' })
    await store.decide([charge], COMMIT)
    const kv = await new Kvm(connection).open(bucket)
    const keys: string[] = []
    for await (const key of await kv.keys()) keys.push(key)
    expect(keys).toEqual(['per=0020device.device=002e7'])
    expect((await kv.get(keys[0]!))?.string()).toMatch(/^\[\d+,"fixed-window",3,3600000,3,0?[^\n]*\]\n/)
    await kv.delete(keys[0]!)
    expect(await store.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 2 }])
    await kv.put(keys[0]!, 'something else')
    await expect(store.decide([charge], COMMIT)).rejects.toThrow(
      'has a value that is not the state of a limit',
    )
  })

  it('eight nodes that compete for one key admit exactly the limit', async () => {
    const bucket = `b-${++buckets}`
    const dice = random(3)
    const nodes = Array.from({ length: 8 }, () => open({ bucket, random: () => dice.next() }))
    const charge = chargeOf('r', 30)
    const verdicts = await Promise.all(
      nodes.flatMap(store => Array.from({ length: 6 }, () => store.decide([charge], COMMIT))),
    )
    const left = verdicts.flatMap(([verdict]) => (verdict!.allowed ? [verdict!.remaining] : []))
    expect(left.sort((a, b) => b - a)).toEqual(Array.from({ length: 30 }, (_, index) => 29 - index))
    const conflicts = await Promise.all(nodes.map(async store => (await store.health()).conflicts))
    expect(conflicts.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(0)
  })

  it('messages of several contended keys never pass too much, and denied ones are refunded', async () => {
    const bucket = `b-${++buckets}`
    const nodes = Array.from({ length: 4 }, () => open({ bucket }))
    const [shared, own] = [chargeOf('shared', 12), chargeOf('own', 5)]
    const keys = ['a', 'b', 'c', 'd']
    const asked = Array.from({ length: 48 }, (_, index) => keys[(index >> 2) % 4]!)
    const passed = await Promise.all(
      asked.map((key, index) => nodes[index % 4]!.decide([shared, { ...own, key }], COMMIT).then(isAllowed)),
    )
    const through = asked.filter((_, index) => passed[index])
    expect(through.length).toBeLessThanOrEqual(12)
    expect(through.length).toBeGreaterThan(0)
    const [left] = await nodes[0]!.decide([{ ...shared, cost: 0 }], { commit: false })
    expect(left!.remaining, 'every unit taken was admitted').toBe(12 - through.length)
    for (const key of keys) {
      const [rest] = await nodes[0]!.decide([{ ...own, key, cost: 0 }], { commit: false })
      expect(rest!.remaining).toBe(5 - through.filter(each => each === key).length)
    }
  })

  it('answers in time, however many decisions compete for one key', async () => {
    const store = open({ timeoutMs: 30 })
    const decides = (): Promise<boolean> =>
      store.decide([chargeOf('r', 9)], COMMIT).then(
        () => true,
        () => false,
      )
    await until(decides)
    const asked = await Promise.allSettled(
      Array.from({ length: 2_000 }, () => store.decide([chargeOf('r', 5_000)], COMMIT)),
    )
    const rejected = asked.filter(({ status }) => status === 'rejected')
    expect(rejected.length).toBeGreaterThan(0)
    expect((rejected[0] as PromiseRejectedResult).reason).toBeInstanceOf(StoreError)
    await until(async () => (await store.health()).ok)
    expect(await store.health()).toMatchObject({ pending: 0 })
  })

  it('accepts a bounded number of charges and decisions', async () => {
    const store = open()
    const charges = Array.from({ length: MAX_SIZES.redisCallCharges + 1 }, () => chargeOf('r', 5_000))
    await expect(store.decide(charges, COMMIT)).rejects.toThrow(
      `the maximum is ${MAX_SIZES.redisCallCharges}`,
    )
    expect(isAllowed(await store.decide(charges.slice(1), COMMIT))).toBe(true)
    const peeks = Array.from({ length: MAX_SIZES.pendingStoreDecisions + 1 }, () =>
      store.decide([], { commit: false }),
    )
    const refused = (await Promise.allSettled(peeks)).filter(({ status }) => status === 'rejected')
    expect(refused).toHaveLength(1)
  })

  it('rejects at once when closed or without a connection', async () => {
    const never = new NatsKvStore({ connection: new Promise(() => {}) })
    await expect(never.decide([chargeOf('r', 1)], COMMIT)).rejects.toThrow('nats: not connected')
    expect(await never.health()).toMatchObject({ ok: false, detail: 'nats: not connected' })
    let closings = 0
    const store = open({ onClose: async () => void closings++ })
    await store.close()
    await store.close()
    expect(closings).toBe(1)
    await expect(store.forget({})).rejects.toThrow('the store is closed')
  })

  it('reports what is missing if the server has no JetStream', async () => {
    const plain = await startNats()
    const own = await connect({ servers: plain.url })
    const store = open({ connection: own })
    await expect(store.decide([chargeOf('r', 1)], COMMIT)).rejects.toThrow('is JetStream enabled')
    await own.close()
    await plain.stop()
  })
})

describe('the bucket', () => {
  it('is bounded, keeps no history, and lives twice as long as the longest window', async () => {
    const bucket = `b-${++buckets}`
    const store = open({ bucket })
    const configOf = async (): Promise<Config['config']> =>
      (await askApi<Config>(connection, `STREAM.INFO.KV_${bucket}`)).config
    await store.decide([chargeOf('short', 1)], COMMIT)
    expect(await configOf()).toMatchObject({
      max_msgs: MAX_SIZES.natsBucketKeys,
      max_msgs_per_subject: 1,
      max_age: DAY_NS,
    })
    // Ten days from now: at least twenty, by doubling.
    const periodMs = 20 * 86_400_000
    const clock = new FakeClock()
    clock.set(periodMs * 100 + periodMs / 2)
    await store.decide([chargeOf('long', 1, {}, periodMs)], { commit: true, nowMs: clock.now() })
    expect((await configOf()).max_age).toBe(32 * DAY_NS)
    // Another node without such a window does not shorten it.
    const other = open({ bucket })
    await other.decide([chargeOf('short', 1)], COMMIT)
    expect((await configOf()).max_age).toBe(32 * DAY_NS)
  })

  it('that is full accepts no new keys, reports it, and counts on for existing ones', async () => {
    const store = open({ maxKeys: 20 })
    const known = chargeOf('r', 1_000, { key: 'known' })
    await store.decide([known], COMMIT)
    const fill = async (): Promise<void> => {
      for (let key = 0; key < 100; key++)
        await store.decide([chargeOf('r', 1_000, { key: `${key}` })], COMMIT)
    }
    await expect(fill()).rejects.toThrow('maximum messages exceeded')
    expect((await store.health()).detail).toMatch(/^20 keys/)
    for (let key = 0; key < 19; key++) {
      const charge = chargeOf('r', 1_000, { key: `${key}` })
      expect(await store.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 998 }])
    }
    expect(await store.decide([known], COMMIT)).toMatchObject([{ allowed: true, remaining: 998 }])
  })

  it('is created again after it was deleted', async () => {
    const bucket = `b-${++buckets}`
    const store = open({ bucket })
    await store.decide([chargeOf('r', 3)], COMMIT)
    await askApi(connection, `STREAM.DELETE.KV_${bucket}`)
    expect(await store.decide([chargeOf('r', 3)], COMMIT)).toMatchObject([{ allowed: true, remaining: 2 }])
  })

  it.each([
    ['keeps a history', { max_msgs_per_subject: 5 }],
    ['forgets old keys when it is full \\(discard: old', { discard: 'old', max_msgs: 100_000 }],
    ['forgets old keys when it is full \\(max_bytes', { max_bytes: 100_000 }],
    ['is a stream of other subjects', { subjects: ['elsewhere.>'] }],
    ['keeps its entries by workqueue', { retention: 'workqueue' }],
  ])('that %s is rejected with the remedy', async (says, wrong) => {
    const bucket = `b-${++buckets}`
    const right = { subjects: [`$KV.${bucket}.>`], retention: 'limits', discard: 'new' }
    const config = { name: `KV_${bucket}`, ...right, max_msgs_per_subject: 1, storage: 'memory', ...wrong }
    await askApi(connection, `STREAM.CREATE.KV_${bucket}`, config)
    const store = open({ bucket })
    await expect(store.decide([chargeOf('r', 1)], COMMIT)).rejects.toThrow(
      new RegExp(`the bucket ${bucket} ${says}.*use another bucket`),
    )
    expect((await store.health()).ok).toBe(false)
  })
})
