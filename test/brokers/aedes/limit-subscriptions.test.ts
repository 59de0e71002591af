import { afterEach, describe, expect, it } from 'vitest'
import { limitBroker } from '../../../brokers/aedes/index.ts'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

/** Two subscriptions, then none for an hour. */
async function start(exceeded: 'reject' | 'disconnect' | 'throttle' = 'reject', rate = '2/hour') {
  const gate = new Gate().use(limit({ name: 'subs', on: 'subscribe', rate, per: 'client', exceeded }))
  running = await startBroker({ gate })
  return running
}

function subscribe(messageId: number, ...topics: string[]) {
  return {
    cmd: 'subscribe' as const,
    messageId,
    subscriptions: topics.map(topic => ({ topic, qos: 1 as const })),
  }
}

describe('a refused subscription', () => {
  it('gets 0x80 and no deliveries, and granted ones are unaffected', async () => {
    const test = await start()
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(subscribe(1, 'a/#', 'b/#', 'c/#'))
    expect(await raw.until('suback')).toMatchObject({ granted: [1, 1, 0x80] })
    const publisher = await test.connect()
    for (const topic of ['c/x', 'b/x', 'a/x']) await publisher.publishAsync(topic, topic)
    await raw.until('publish', 2)
    await raw.roundTrip()
    const topics = raw.packets.flatMap(packet => (packet.cmd === 'publish' ? [packet.topic] : []))
    expect(topics).toEqual(['b/x', 'a/x'])
    expect(test.limits.stats().subscriptionsRefused).toBe(1)
  })

  it('is not restored by a persistent session', async () => {
    const test = await start()
    const connect = { clientId: 'keeps', clean: false }
    const first = await test.connectRaw(connect)
    first.send(subscribe(1, 'a/#', 'b/#', 'c/#'))
    await first.until('suback')
    await first.roundTrip()
    first.socket.destroy()
    const second = await test.connectRaw(connect)
    const publisher = await test.connect()
    for (const topic of ['c/x', 'a/x']) await publisher.publishAsync(topic, topic)
    await second.until('publish')
    await second.roundTrip()
    const topics = second.packets.flatMap(packet => (packet.cmd === 'publish' ? [packet.topic] : []))
    expect(topics).toEqual(['a/x'])
  })

  it('of a granted filter leaves that unchanged', async () => {
    const test = await start('reject', '3/hour')
    const connect = { clientId: 'keeps', clean: false }
    const first = await test.connectRaw(connect)
    first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a/#', qos: 0 }] })
    await first.until('suback')
    first.send(subscribe(2, 'b/#', 'c/#', 'a/#'))
    expect(await first.until('suback', 2)).toMatchObject({ granted: [1, 1, 0x80] })
    await first.roundTrip()
    first.socket.destroy()
    const second = await test.connectRaw(connect)
    const publisher = await test.connect()
    await publisher.publishAsync('a/x', 'm', { qos: 1 })
    expect(await second.until('publish')).toMatchObject({ topic: 'a/x', qos: 0 })
  })
})

describe('a filter refused by the application’s hook', () => {
  it('stays in a persistent session as in plain aedes, unlike one refused by a rule', async () => {
    const test = await start('reject', '2/hour')
    let isAllowed = false
    test.broker.authorizeSubscribe = (_client, subscription, done) =>
      done(null, subscription.topic === 'a/#' && !isAllowed ? null : subscription)
    const connect = { clientId: 'keeps', clean: false }
    const first = await test.connectRaw(connect)
    first.send(subscribe(1, 'a/#', 'b/#', 'c/#', 'd/#'))
    expect(await first.until('suback')).toMatchObject({ granted: [0x80, 1, 1, 0x80] })
    await first.roundTrip()
    first.socket.destroy()
    isAllowed = true
    const second = await test.connectRaw(connect)
    const publisher = await test.connect()
    for (const topic of ['d/x', 'a/x', 'b/x']) await publisher.publishAsync(topic, topic)
    await second.until('publish', 2)
    await second.roundTrip()
    const topics = second.packets.flatMap(packet => (packet.cmd === 'publish' ? [packet.topic] : []))
    expect(topics).toEqual(['a/x', 'b/x'])
  })
})

describe('restored filters of a session', () => {
  it('are not counted and never refused', async () => {
    const test = await start()
    for (let i = 0; i < 5; i++) {
      const raw = await test.connectRaw({ clientId: 'keeps', clean: false })
      if (i === 0) {
        raw.send(subscribe(1, 'a/#', 'b/#'))
        await raw.until('suback')
      }
      raw.socket.destroy()
      await eventually(() => expect(test.broker.connectedClients).toBe(0))
    }
    const last = await test.connectRaw({ clientId: 'keeps', clean: false })
    const publisher = await test.connect()
    await publisher.publishAsync('b/x', 'm')
    expect(await last.until('publish')).toMatchObject({ topic: 'b/x' })
  })
})

describe('too many subscriptions', () => {
  it('disconnect if the rule’s outcome is `disconnect`', async () => {
    const test = await start('disconnect')
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(subscribe(1, 'a', 'b', 'c'))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(test.limits.stats().disconnected).toBe(1)
  })
  it('wait if the rule’s outcome is `throttle`', async () => {
    const test = await start('throttle', '10/s burst 1')
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(subscribe(1, 'a', 'b', 'c'))
    expect(await raw.until('suback')).toMatchObject({ granted: [1, 1, 1] })
  })
})

describe('a SUBSCRIBE of many filters', () => {
  const many = (count: number): string[] => Array.from({ length: count }, (_, index) => `f/${index}/#`)

  it('closes the connection beyond its bound, like an UNSUBSCRIBE', async () => {
    const test = await startBroker({ limiter: { maxFiltersPerPacket: 100 } })
    running = test
    const within = await test.connectRaw({ clientId: 'within' })
    within.send(subscribe(1, ...many(100)))
    expect(await within.until('suback')).toMatchObject({ granted: Array(100).fill(1) })
    within.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: many(101) })
    await eventually(() => expect(within.closed).toBe(true))
    const beyond = await test.connectRaw({ clientId: 'beyond' })
    beyond.send(subscribe(1, ...many(101)))
    await eventually(() => expect(beyond.closed).toBe(true))
    expect(test.limits.stats().oversized).toBe(2)
  })
  it('may have at most 256 KiB, regardless of maxPacketBytes', async () => {
    const test = await startBroker({ limiter: { maxFiltersPerPacket: 0 } })
    running = test
    const raw = await test.connectRaw({ clientId: 'raw' })
    // 0x82, then a remaining length of 262,145 bytes.
    raw.socket.write(Buffer.from([0x82, 0x81, 0x80, 0x10]))
    await eventually(() => expect(raw.closed).toBe(true))
  })
  it('is charged per filter and stored once in a session', async () => {
    const gate = new Gate().use(limit({ name: 'subs', on: 'subscribe', rate: '60/hour', per: 'client' }))
    let stored = 0
    const test = await startBroker({ gate })
    running = test
    const { persistence } = test.broker as unknown as {
      persistence: { addSubscriptions(...args: unknown[]): Promise<unknown> }
    }
    const add = persistence.addSubscriptions
    test.limits.detach()
    persistence.addSubscriptions = (...args) => {
      stored++
      return add.apply(persistence, args)
    }
    const limits = limitBroker(test.broker, gate)
    const raw = await test.connectRaw({ clientId: 'raw', clean: false })
    raw.send(subscribe(1, ...many(500)))
    const suback = await raw.until('suback')
    expect(suback).toMatchObject({ granted: [...Array(60).fill(1), ...Array(440).fill(0x80)] })
    expect(limits.stats().subscriptionsRefused).toBe(440)
    expect(stored).toBe(1)
  })
  it('that is refused pauses reading of its sender, or disconnects it', async () => {
    const gate = new Gate().use(limit({ name: 'subs', on: 'subscribe', rate: '1/hour', per: 'client' }))
    const test = await startBroker({ gate, limiter: { dropGateMs: 300_000 } })
    running = test
    const raw = await test.connectRaw({ clientId: 'raw' })
    raw.send(subscribe(1, ...many(50)))
    await raw.until('suback')
    raw.send(subscribe(2, 'later'))
    const other = await test.connectRaw({ clientId: 'other' })
    await other.roundTrip()
    await other.roundTrip()
    expect(raw.packets.filter(({ cmd }) => cmd === 'suback')).toHaveLength(1)
    await test.close()
    running = await startBroker({ gate, limiter: { disconnectAfter: 20 } })
    const disconnected = await running.connectRaw({ clientId: 'again' })
    disconnected.send(subscribe(1, ...many(50)))
    await eventually(() => expect(disconnected.closed).toBe(true))
  })
  it('is refused for a filter too long to be hashed, as a connect is for such a client id', async () => {
    const test = await startBroker()
    running = test
    const raw = await test.connectRaw({ clientId: 'raw' })
    raw.send(subscribe(1, 'x'.repeat(16_383), 'x'.repeat(16_384)))
    expect(await raw.until('suback')).toMatchObject({ granted: [1, 0x80] })
    const long = await test.connectRaw({ clientId: 'x'.repeat(16_384) })
    expect(long.packets[0]).toMatchObject({ cmd: 'connack', returnCode: 2 })
  })
})
