import { afterAll, describe, expect, it } from 'vitest'
import { createLimit, type LimitSpec } from '../../../../src/algorithms/create-limit.ts'
import { limit as limitBy } from '../../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../../src/gate/gate.ts'
import { NatsStreamStore } from '../../../../src/stores/nats-kv/index.ts'
import type { Charge } from '../../../../src/stores/store.ts'
import { startNats } from '../../../support/nats.ts'
import { until } from '../../../support/wait.ts'
import { askApi, CLIENTS } from '../nats-kv/harness.ts'

const server = await startNats({ jetstream: true })
const connections = await Promise.all(
  Array.from({ length: 4 }, () => Object.values(CLIENTS).map(connectTo => connectTo(server.url))).flat(),
)
const connection = connections[0]!
afterAll(async () => {
  await Promise.all(connections.map(each => each.close()))
  await server.stop()
})

const COMMIT = { commit: true }
const PEEK = { commit: false }
const HOUR_MS = 3_600_000
let rules = 0

function chargeOf(count: number, more: Partial<Charge> = {}, spec: Partial<LimitSpec> = {}): Charge {
  const name = `rule ${++rules}`
  return {
    key: 'k',
    cost: 1,
    ...more,
    limit: createLimit({ name, algorithm: 'sliding-log', count, periodMs: HOUR_MS, ...spec }),
  }
}

const open = (more: object = {}): NatsStreamStore =>
  new NatsStreamStore({ connection, storage: 'memory', timeoutMs: 10_000, ...more })

describe('a NATS stream store', () => {
  it('is exact over eight concurrent nodes of both generations of the client', async () => {
    const nodes = connections.map(each => open({ connection: each }))
    const charge = chargeOf(100)
    const verdicts = await Promise.all(
      nodes.flatMap(node => Array.from({ length: 50 }, () => node.decide([charge], COMMIT))),
    )
    expect(verdicts.filter(([verdict]) => verdict!.allowed)).toHaveLength(100)
    for (const [verdict] of verdicts) if (!verdict!.allowed) expect(verdict!.remaining).toBe(0)
  })

  it('is created once by eight nodes that start together', async () => {
    for (let round = 0; round < 20; round++) {
      const nodes = connections.map(each => open({ connection: each, bucket: `begin-${round}` }))
      const charge = chargeOf(5)
      const verdicts = await Promise.all(nodes.map(node => node.decide([charge], COMMIT)))
      expect(verdicts.filter(([verdict]) => verdict!.allowed)).toHaveLength(5)
    }
  })

  it('reports what is left and how long to wait', async () => {
    const store = open()
    const charge = chargeOf(2)
    expect(await store.decide([charge], PEEK)).toEqual([
      { allowed: true, remaining: 1, retryAfterMs: 0, resetMs: HOUR_MS },
    ])
    expect(await store.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 1 }])
    expect(await store.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 0 }])
    const [denied] = await store.decide([charge], COMMIT)
    expect(denied).toMatchObject({ allowed: false, remaining: 0 })
    for (const ms of [denied!.retryAfterMs, denied!.resetMs]) {
      expect(ms).toBeGreaterThan(HOUR_MS - 20_000)
      expect(ms).toBeLessThanOrEqual(HOUR_MS)
    }
    const never = { ...charge, cost: 3 }
    expect(await store.decide([never], COMMIT)).toMatchObject([{ allowed: false, retryAfterMs: Infinity }])
  })

  it('returns a unit when its window is over, never earlier', async () => {
    const store = open()
    const charge = chargeOf(3, { cost: 3 }, { periodMs: 1_000 })
    const startMs = performance.now()
    expect(await store.decide([charge], COMMIT)).toMatchObject([{ allowed: true, remaining: 0 }])
    const one = { ...charge, cost: 1 }
    await until(async () => (await store.decide([one], COMMIT))[0]!.allowed)
    const tookMs = performance.now() - startMs
    expect(tookMs).toBeGreaterThanOrEqual(990)
  })

  it('takes all units of a cost or none, under concurrency', async () => {
    const store = open()
    const charge = chargeOf(50, { cost: 7 })
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => store.decide([charge], COMMIT)))
    const admitted = verdicts.filter(([verdict]) => verdict!.allowed).length
    expect(admitted).toBeLessThanOrEqual(7)
    const [left] = await store.decide([{ ...charge, cost: 0 }], PEEK)
    expect(left!.remaining).toBe(50 - 7 * admitted)
    const whole = chargeOf(200, { cost: 200 })
    expect(await store.decide([whole], COMMIT)).toMatchObject([{ allowed: true, remaining: 0 }])
    expect(await store.decide([whole], COMMIT)).toMatchObject([{ allowed: false, remaining: 0 }])
  })

  it('a denied message charges nothing, and a soft charge denies no other', async () => {
    const store = open()
    const [full, other] = [chargeOf(1), chargeOf(5)]
    await store.decide([full], COMMIT)
    expect(await store.decide([other, full], COMMIT)).toMatchObject([{ allowed: true }, { allowed: false }])
    expect(await store.decide([{ ...other, cost: 0 }], PEEK)).toMatchObject([{ remaining: 5 }])
    const soft = { ...full, soft: true }
    expect(await store.decide([soft, other], COMMIT)).toMatchObject([{ allowed: false }, { allowed: true }])
    expect(await store.decide([{ ...other, cost: 0 }], PEEK)).toMatchObject([{ remaining: 4 }])
    expect(
      await store.decide(
        [
          { ...other, cost: 2 },
          { ...other, cost: 3 },
        ],
        COMMIT,
      ),
    ).toMatchObject([{ allowed: true }, { allowed: false }])
  })

  it('refunds, and forgets a key, a rule or everything', async () => {
    const store = open({ bucket: 'own' })
    const [first, second] = [chargeOf(2), chargeOf(2)]
    for (const key of ['a', 'b', 'a.b'])
      await store.decide(
        [
          { ...first, key },
          { ...second, key },
        ],
        COMMIT,
      )
    await store.refund([{ ...first, key: 'a', cost: 2 }])
    expect(await store.decide([{ ...first, key: 'a', cost: 2 }], COMMIT)).toMatchObject([{ allowed: true }])
    expect(await store.forget({ rule: first.limit.name, key: 'a' })).toBe(1)
    expect(await store.forget({ rule: first.limit.name })).toBe(2)
    expect(await store.forget({ rule: 'no such rule' })).toBe(0)
    expect(await store.forget({})).toBe(3)
    expect(await store.decide([{ ...second, key: 'a', cost: 2 }], COMMIT)).toMatchObject([{ allowed: true }])
    expect(await store.health()).toEqual({ ok: true, detail: '2 streams' })
  })

  it('a rule with changed numbers keeps the used units', async () => {
    const store = open()
    const charge = chargeOf(10, { cost: 4 })
    await store.decide([charge], COMMIT)
    for (const count of [20, 5]) {
      const limit = createLimit({
        name: charge.limit.name,
        algorithm: 'sliding-log',
        count,
        periodMs: 2 * HOUR_MS,
      })
      expect(await store.decide([{ ...charge, limit, cost: 0 }], PEEK)).toMatchObject([
        { remaining: count - 4 },
      ])
      expect(await store.decide([{ ...charge, limit, cost: count - 3 }], COMMIT)).toMatchObject([
        { allowed: false },
      ])
    }
  })

  it('rejects limits it cannot count, with the reason', async () => {
    const store = open()
    const gate = new Gate({ store })
    expect(() => gate.use(limitBy({ name: 'a', rate: '10/s' }))).toThrow('does not run token-bucket')
    expect(store.refuses(chargeOf(1, {}, { fractional: true }).limit)).toContain('whole units')
    expect(store.refuses(chargeOf(1, {}, { periodMs: 999 }).limit)).toContain('shorter than 1000 ms')
    expect(store.refuses(chargeOf(1).limit)).toBeUndefined()
    const bucket = createLimit({ name: 't', algorithm: 'token-bucket', count: 1, periodMs: 1_000 })
    await expect(store.decide([{ limit: bucket, key: '', cost: 1 }], COMMIT)).rejects.toThrow(
      'cannot count a token-bucket',
    )
    await gate.close()
    await store.close()
    await expect(store.decide([chargeOf(1)], COMMIT)).rejects.toThrow('the store is closed')
  })

  it('a full stream is a fault, not a denial; one that drops old messages is rejected', async () => {
    const store = open({ maxUnits: 20, bucket: 'small' })
    const charge = chargeOf(5_000)
    const fill = async (): Promise<void> => {
      for (let times = 0; times < 200; times++) await store.decide([charge], COMMIT)
    }
    await expect(fill()).rejects.toThrow('maximum messages exceeded')
    expect(await store.decide([{ ...charge, cost: 0 }], PEEK)).toMatchObject([{ remaining: 4_980 }])
    const name = 'TOPICGATE_wrong_a'
    await askApi(connection, `STREAM.CREATE.${name}`, {
      name,
      subjects: ['topicgate.wrong.a.*'],
      storage: 'memory',
    })
    const limit = createLimit({ name: 'a', algorithm: 'sliding-log', count: 1, periodMs: HOUR_MS })
    await expect(open({ bucket: 'wrong' }).decide([{ ...charge, limit }], COMMIT)).rejects.toThrow(
      'drops old messages',
    )
  })
})
