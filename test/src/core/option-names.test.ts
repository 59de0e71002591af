import { EventEmitter } from 'node:events'
import { Aedes } from 'aedes'
import { describe, expect, it } from 'vitest'
import * as aedes from '../../../brokers/aedes/index.ts'
import * as mqtt from '../../../brokers/mqtt/index.ts'
import * as nats from '../../../brokers/nats/index.ts'
import * as core from '../../../src/index.ts'
import * as kv from '../../../src/stores/nats-kv/index.ts'
import * as redis from '../../../src/stores/redis/index.ts'
import * as sqlite from '../../../src/stores/sqlite/index.ts'
import { readText } from '../../structure/project.ts'

const DOORS = [
  'src/index.ts',
  ...['brokers/aedes/index.ts', 'brokers/mqtt/index.ts', 'brokers/nats/index.ts'],
  ...['src/stores/nats-kv/index.ts', 'src/stores/redis/index.ts', 'src/stores/sqlite/index.ts'],
]

/** Types of options that another type holds, that belong to another package, or whose words have tests of their own. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ReachOptions: 'a part of OpenNatsKvOptions',
  PublisherOptions: 'a part of MqttPublisherOptions and NatsPublisherOptions',
  FeedbackLimiterOptions: 'a part of AimdOptions and GradientOptions',
  PublishOptions: 'those of MQTT.js',
  NatsPublishOptions: 'those of the NATS client',
  ConditionSpec: 'test/src/conditions',
  ExceededSpec: 'test/src/chain/rules and test/src/policy',
  QueuedPublishOptions: 'one of each message, beside those of the client',
}

// What is given is wrong in one name only: all else is never looked at, or is what it should be.
type Any = never
const wrong: object = { exeeded: 'drop' }
const gate = new core.Gate()
const natsGate = new core.Gate({ dialect: 'nats' })
const rule = { name: 'r', limit: '1/s' }
const store = new core.MemoryStore()
const client = Object.assign(new EventEmitter(), { options: {}, status: 'end' }) as Any
const broker = await Aedes.createBroker()
const limits = nats.limitNats(natsGate)
const message = { topic: 'a', size: 1 }
const message2 = { reason: 'why' }

const CALLS: Readonly<Record<string, () => unknown>> = {
  LimitOptions: () => core.limit({ ...rule, ...wrong }),
  QuotaOptions: () => core.quota({ name: 'q', quota: '1/day', ...wrong }),
  InFlightOptions: () => core.limit({ name: 'r', inFlight: 1, ...wrong }),
  ResourceLimitOptions: () => core.limit({ name: 'r', connections: 1, ...wrong }),
  MessageSizeOptions: () => core.limit({ name: 'r', maxSize: 1, ...wrong }),
  UnchangedPayloadOptions: () => core.limit({ name: 'r', unchanged: 'drop', ...wrong }),
  ExemptOptions: () => core.exempt({ clients: ['c'], ...wrong }),
  PenaltySpec: () => core.limit({ ...rule, penalties: { block: '1s', ...wrong } }),
  BehaviourFactorsSpec: () => new core.Gate({ behaviour: wrong }),
  TierSpec: () => new core.Gate({ tiers: { gold: { limit: '1/s', ...wrong } } }),
  TiersSpec: () => new core.Gate({ tiers: { assign: wrong } }),
  TierLookup: () => new core.Gate({ tierOf: { of: () => undefined, ...wrong } }),
  GateOptions: () => new core.Gate(wrong),
  'GateOptions of fromPolicy': () => core.Gate.fromPolicy({ rules: [] }, wrong),
  GateRunOptions: () => gate.run(message, () => 1, wrong),
  BanOptions: () => gate.bans.add({ client: 'c', ...message2, ...wrong }),
  OverrideOptions: () => gate.overrides.add({ client: 'c', limit: 'x2', ...message2, ...wrong }),
  RuntimeExemption: () => gate.exemptions.add({ name: 'e', clients: ['c'], ...message2, ...wrong }),
  TierLookupOptions: () => new core.Gate({ tierOf: { of: () => 'free', ...wrong } }),
  TierAssignmentOptions: () =>
    new core.Gate({ tiers: {} }).tiers.add({ client: 'c', tier: 'free', ...message2, ...wrong }),
  RuntimeEntryOptions: () => gate.bans.add({ client: 'c', reason: 'why', ...wrong }),
  AdaptiveOptions: () => core.adaptive(wrong),
  AimdOptions: () => core.aimd(wrong),
  GradientOptions: () => core.gradient(wrong),
  HandlerBreakerOptions: () => core.circuitBreaker(wrong),
  BehaviourScalerOptions: () => core.behaviour(wrong),
  LimitSpec: () =>
    core.createLimit({ name: 'l', algorithm: 'token-bucket', count: 1, periodMs: 1, ...wrong }),
  GuardOptions: () => new core.Guard(gate, wrong),
  AlertsOptions: () => new core.Alerts({ gate, ...wrong } as Any),
  AnalyticsOptions: () => new core.Analytics({ gate, ...wrong }),
  DurationsOptions: () => new core.DecisionTimer({ gate, ...wrong }),
  SnapshotExporterOptions: () => new core.SnapshotExporter({ clock: gate.clock, ...wrong } as Any),
  WebhookOptions: () => new core.Webhook({ url: 'http://h/', secret: 's', ...wrong }),
  RedisSnapshotsOptions: () => new core.RedisSnapshots({ client, ...wrong }),
  SqliteSnapshotsOptions: () => new core.SqliteSnapshots({ database: client, ...wrong }),
  MemorySnapshots: () => new core.MemorySnapshots(wrong),
  StoreSpec: () => core.openStore({ url: 'memory', ...wrong }),
  OpenStoreOptions: () => core.openStore('memory', wrong),
  MemoryStoreOptions: () => new core.MemoryStore(wrong),
  LeasedStoreOptions: () => new core.LeasedStore({ store, ...wrong }),
  ResilientStoreOptions: () => new core.ResilientStore({ store, ...wrong }),
  LimitBrokerOptions: () => aedes.limitBroker(broker, gate, wrong),
  LimitServerOptions: () => aedes.limitServer(client, undefined as Any, wrong),
  BehindProxyOptions: () => aedes.behindProxy(broker, { trust: () => true, ...wrong }),
  ConsumerOptions: () => mqtt.limitConsumer(client, gate, { handler: () => {}, ...wrong }),
  MqttPublisherOptions: () => mqtt.limitPublishes(client, { rate: '1/s' }, wrong),
  BackOffOptions: () => mqtt.limitPublishes(client, { rate: '1/s' }, { backOff: wrong }),
  PublishRate: () => mqtt.limitPublishes(client, { rate: '1/s', ...wrong }),
  LimitNatsOptions: () => nats.limitNats(natsGate, wrong),
  'keepAlive of limitNats': () => nats.limitNats(natsGate, { keepAlive: { upTo: '1m', ...wrong } }),
  NatsSubscribeOptions: () => limits.subscribe(client, 'a', { callback: () => {}, ...wrong }),
  'respond of limitNats': () => limits.respond(client, 'a', () => {}, wrong),
  'iterate of limitNats': () => limits.iterate(client, wrong),
  'next of limitNats': () => limits.next(client, wrong),
  'wrap of limitNats': () => limits.wrap(() => {}, wrong),
  PullOptions: () => limits.consume(client, () => {}, wrong),
  'PullOptions of fetch': () => limits.fetch(client, wrong),
  DrainOptions: () => limits.drain(wrong),
  NatsPublisherOptions: () => nats.limitPublishes(client, { rate: '1/s' }, wrong),
  OpenSqliteOptions: () => sqlite.openSqlite(':memory:', wrong),
  SqliteStoreOptions: () => new sqlite.SqliteStore({ database: client, ...wrong }),
  OpenRedisOptions: () => redis.openRedis('redis://127.0.0.1:1', wrong),
  RedisStoreOptions: () => new redis.RedisStore({ client, ...wrong }),
  RedisAdapterOptions: () => redis.fromIoredis(client, wrong),
  'RedisAdapterOptions of node-redis': () => redis.fromNodeRedis(client, wrong),
  OpenNatsKvOptions: () => kv.openNatsKv('nats://127.0.0.1:1', wrong),
  OpenNatsStreamOptions: () => kv.openNatsStream('nats://127.0.0.1:1', wrong),
  NatsKvStoreOptions: () => new kv.NatsKvStore({ connection: client, ...wrong }),
  NatsStreamStoreOptions: () => new kv.NatsStreamStore({ connection: client, ...wrong }),
  'cost by bytes': () => core.limit({ ...rule, cost: { bytes: 'payload', ...wrong } }),
  'cost by payload': () => core.limit({ ...rule, cost: { payload: 'units', ...wrong } }),
  'cost by header': () => core.limit({ ...rule, cost: { header: 'units', ...wrong } }),
  'cost by topic': () => core.limit({ ...rule, cost: { topics: {}, ...wrong } }),
  'throttle of exceeded': () => core.limit({ ...rule, exceeded: { throttle: wrong } }),
  'queue of exceeded': () => core.limit({ ...rule, exceeded: { queue: wrong } }),
  'latest of exceeded': () => core.limit({ ...rule, exceeded: { latest: wrong } }),
  'redirect of exceeded': () => core.limit({ ...rule, exceeded: { redirect: wrong } }),
  'degrade of exceeded': () => core.limit({ ...rule, exceeded: { degrade: wrong } }),
}

async function problemOf(call: () => unknown): Promise<string> {
  try {
    await call()
  } catch (error) {
    if (error instanceof core.PolicyError) return error.message
    throw error
  }
  return 'nothing was refused'
}

describe('options in code', () => {
  it.each(Object.entries(CALLS))('%s: an unknown name is refused', async (_name, call) => {
    expect(await problemOf(call)).toContain('there is no option `exeeded`')
  })

  it('are all covered by this test', () => {
    const named = DOORS.flatMap(door => readText(door).match(/\b\w+(?:Options|Spec)\b/g) ?? [])
    const untried = named.filter(name => !Object.hasOwn(CALLS, name) && !Object.hasOwn(ELSEWHERE, name))
    expect([...new Set(untried)].sort()).toEqual([])
  })

  it('the most likely name is suggested', async () => {
    expect(await problemOf(() => core.limit({ ...rule, ...wrong }))).toBe(
      'there is no option `exeeded` (did you mean `exceeded`?)',
    )
    expect(await problemOf(() => new core.Gate({ stor: store } as Any))).toBe(
      'there is no option `stor` (did you mean `store`?)',
    )
    expect(await problemOf(() => new core.Guard(gate, { fallback: 'deny' } as Any))).toBe(
      'there is no option `fallback` (write middlewareFallback; a store has a fallback of its own, see openStore)',
    )
  })

  it.each([
    ['limit', () => core.limit('10/s' as Any), '"10/s" is not an object of options'],
    ['quota', () => core.quota(undefined as Any), 'undefined is not an object of options'],
    ['a gate', () => new core.Gate([] as Any), 'a list is not an object of options'],
  ])('%s needs an object', async (_name, call, message) => {
    expect(await problemOf(call)).toContain(message)
  })
})

describe('the rate of a rule', () => {
  it('is `limit` or `rate`, and `quota` or `rate`', () => {
    for (const given of [{ limit: '2/s' }, { rate: '2/s' }]) {
      const own = new core.Gate().use(core.limit({ name: 'r', ...given }))
      expect([1, 2, 3].map(() => own.checkSync(message).allowed)).toEqual([true, true, false])
    }
    for (const given of [{ quota: '1/day' }, { rate: '1/day' }]) {
      const own = new core.Gate().use(core.quota({ name: 'q', ...given }))
      expect([1, 2].map(() => own.checkSync(message).allowed)).toEqual([true, false])
    }
  })

  it.each([
    [{ name: 'r', limit: '1/s', rate: '2/s' }, 'rate: `limit` is set, too (write one of them)'],
    [{ name: 'r' }, "limit: the rule has no rate (write limit: '10/s')"],
    [{ name: 'r', limit: 'ten' }, 'limit: '],
    [{ name: 'r', rate: 'ten' }, 'rate: '],
    [
      { name: 'r', limit: '1/s', on: 'publihs' },
      'on: "publihs" is not an action (use one of publish, subscribe',
    ],
  ])('%j: %s', async (options, message) => {
    expect(await problemOf(() => core.limit(options as Any))).toContain(message)
  })
})

describe('gate.use', () => {
  it.each([
    [
      { name: 'r', limit: '1/s' },
      'gate.use was given an object, which is not middleware (give what limit(…) returns',
    ],
    [undefined, 'gate.use was given nothing, which is not middleware'],
    ['not/a/pattern/alone', 'gate.use was given nothing, which is not middleware'],
    [core.aimd(), 'gate.use was given an object, which is not middleware (give its `admit`)'],
    [core.circuitBreaker(), 'gate.use was given an object, which is not middleware (give its `guard`)'],
    [[core.exempt({ clients: ['c'] })], 'gate.use was given a list, which is not middleware'],
  ])('refuses values that are not middleware at once', async (given, message) => {
    expect(await problemOf(() => new core.Gate().use(given as Any))).toContain(message)
  })
})

describe('a message in code', () => {
  const limited = (per: string): core.Gate =>
    new core.Gate().use(core.limit({ name: 'r', limit: '2/s', per }))

  it('without `on` is a publish', () => {
    const own = limited('client')
    const sender = { client: 'c' }
    expect([1, 2, 3].map(() => own.checkSync({ topic: 'a', size: 1, sender }).allowed)).toEqual([
      true,
      true,
      false,
    ])
    expect(own.checkSync({ topic: 'a', size: 1, sender, on: 'subscribe' }).allowed).toBe(true)
  })

  it('without a sender is an anonymous one: all of them share a counter', () => {
    const own = limited('client')
    expect(['a', 'b', 'a'].map(topic => own.checkSync({ topic, size: 1 }).allowed)).toEqual([
      true,
      true,
      false,
    ])
    expect(own.checkSync({ topic: 'a', size: 1, sender: { client: 'c' } }).allowed).toBe(true)
  })

  it('keeps its other properties and its payload', () => {
    class Reading {
      readonly topic = 'a'
      readonly size = 1
      readonly tag = 'mine'
      readonly #units = 7
      payload(): unknown {
        return { units: this.#units }
      }
    }
    const seen: unknown[] = []
    const own = new core.Gate().use((given, next) => {
      seen.push(given.on, given.sender, (given as unknown as Reading).tag, given.payload?.())
      return next()
    })
    own.checkSync(new Reading())
    expect(seen).toEqual(['publish', expect.any(Object), 'mine', { units: 7 }])
  })

  it('can be explained, peeked at and run without them', async () => {
    const own = limited('client')
    expect((await own.peek({ topic: 'a', size: 1 })).map(({ remaining }) => remaining)).toEqual([1])
    expect((await own.explain({ topic: 'a', size: 1 })).limits).toHaveLength(1)
    expect(await own.run({ topic: 'a', size: 1 }, () => 'done')).toMatchObject({ ran: true, value: 'done' })
    expect(own.keyOf('r', { topic: 'a', size: 1 })).toBe('')
  })

  it.each([
    [{ topic: 'a', size: 1, on: 'publihs' }, 'on: "publihs" is not an action'],
    [{ size: 1 }, 'topic: undefined is not a topic'],
    [{ topic: 'a', size: 1, sender: 'c1' }, 'sender: string is not a sender'],
  ])('%j is refused', async (given, message) => {
    expect(await problemOf(() => gate.check(given as Any))).toContain(message)
  })
})

describe('events of a gate', () => {
  it('an unknown event is refused', async () => {
    expect(await problemOf(() => gate.on('decisoin' as Any, () => {}))).toBe(
      'event: a gate has no event `decisoin` (did you mean `decision`?)',
    )
  })

  it('`once` calls a listener for one event, and `off` removes it', () => {
    const own = new core.Gate()
    const heard: string[] = []
    const first = (): unknown => heard.push('first')
    const second = (): unknown => heard.push('second')
    own.once('decision', first).once('decision', second).off('decision', second)
    own.checkSync(message)
    own.checkSync(message)
    expect(heard).toEqual(['first'])
  })
})

describe('checkSync', () => {
  it('throws if the answer would be a promise', async () => {
    const own = new core.Gate().use(async (_message, next) => next())
    expect(() => own.checkSync(message)).toThrow(core.UnsupportedError)
  })
})

it('a gate can be disposed of', async () => {
  let closed = false
  {
    await using own = new core.Gate()
    const { close } = own
    own.close = async () => {
      closed = true
      await close.call(own)
    }
  }
  expect(closed).toBe(true)
})
