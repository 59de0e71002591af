import { afterEach, describe, expect, it } from 'vitest'
import type { ExceededSpec } from '../../../src/chain/rules/rule-options.ts'
import { Gate, limit } from '../../../src/index.ts'
import { eventually, type Setup, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})
async function start(setup: Setup): Promise<TestBroker> {
  running = await startBroker(setup)
  return running
}
function gateOf(rate: string, exceeded: ExceededSpec): Gate {
  return new Gate().use('t/{part}', limit({ name: 'r', rate, exceeded }))
}
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => String(from + i))

describe('a queue', () => {
  it('does not stop reading: other topics, pings and acknowledgements of a sender continue', async () => {
    const test = await start({ gate: gateOf('1/min', 'queue') })
    const seen = await subscribeAll(await test.connect(), 'other/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    const queued = numbers(200).map((payload, i) => raw.publish('t/x', { payload, qos: 1, messageId: i + 1 }))
    raw.send(...queued)
    await eventually(() => expect(test.limits.stats().held).toBe(199))
    for (let i = 0; i < 8; i++) {
      raw.send({ cmd: 'pingreq' }, raw.publish('other/x', { payload: String(i), qos: 1, messageId: 500 + i }))
      await raw.until('pingresp', i + 1)
    }
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(numbers(8)))
    expect(raw.closed).toBe(false)
    expect(raw.packets.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId)).toEqual([
      1, 500, 501, 502, 503, 504, 505, 506, 507,
    ])
  })

  it('filled by one client to its bound stops reading that client until half of it is empty', async () => {
    const test = await start({
      gate: gateOf('100/s burst 1', 'queue'),
      limiter: { maxQueuedPerSender: 20 },
    })
    const seen = await subscribeAll(await test.connect(), '#')
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...numbers(21).map((payload, i) => raw.publish('t/x', { payload, qos: 1, messageId: i + 1 })))
    await eventually(() => expect(test.limits.stats().heldPeak).toBe(20))
    raw.send(raw.publish('other', { payload: 'late' }))
    await eventually(() => expect(seen.map(({ text }) => text)).toContain('late'))
    const before = seen.findIndex(({ text }) => text === 'late')
    expect(before).toBeGreaterThanOrEqual(10)
    await raw.until('puback', 21)
    await eventually(() => expect(seen).toHaveLength(22))
    expect(seen.filter(({ topic }) => topic === 't/x').map(({ text }) => text)).toEqual(numbers(21))
  })

  it('acknowledges messages that do not fit, and does not deliver them', async () => {
    const test = await start({ gate: gateOf('1/min', { queue: { max: 3 } }) })
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...numbers(9).map((payload, i) => raw.publish('t/x', { payload, qos: 1, messageId: i + 1 })))
    // One passes, three wait, five found no room.
    await raw.until('puback', 6)
    expect(test.limits.stats()).toMatchObject({ held: 3, overflowed: 5, dropped: 5 })
  })

  it('drops unacknowledged messages of a closed connection, and passes those of QoS 0', async () => {
    const test = await start({ gate: gateOf('20/s burst 1', 'queue') })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    const packets = numbers(11).map((payload, i) =>
      i % 2 === 0 ? raw.publish('t/x', { payload }) : raw.publish('t/x', { payload, qos: 1, messageId: i }),
    )
    raw.send(...packets, { cmd: 'disconnect' })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '2', '4', '6', '8', '10']))
    expect(test.limits.stats()).toMatchObject({ held: 0, discarded: 5 })
  })

  it('copies small payloads, so that they do not keep their chunks in memory', async () => {
    const test = await start({ gate: gateOf('1/min', 'queue') })
    const raw = await test.connectRaw({ clientId: 'r' })
    const payloads: Buffer[] = []
    test.broker.authorizePublish = (_client, packet, done) => {
      payloads.push(packet.payload as Buffer)
      held.push(packet)
      done(null)
    }
    const held: { payload: string | Buffer }[] = []
    raw.send(
      ...numbers(50).map((_, i) => raw.publish('t/x', { payload: '0123456789', qos: 1, messageId: i + 1 })),
    )
    await eventually(() => expect(test.limits.stats().held).toBe(49))
    const pinned = held.slice(1).reduce((sum, { payload }) => sum + (payload as Buffer).buffer.byteLength, 0)
    expect(pinned).toBe(490)
    expect(payloads[1]?.buffer.byteLength).toBeGreaterThan(10)
  })

  it('passes its messages when the limiter is detached, acknowledged and in order', async () => {
    const test = await start({ gate: gateOf('1/min', 'queue') })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...numbers(30).map((payload, i) => raw.publish('t/x', { payload, qos: 1, messageId: i + 1 })))
    await eventually(() => expect(test.limits.stats().held).toBe(29))
    test.limits.detach()
    await raw.until('puback', 30)
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(numbers(30)))
  })

  it('for connects in a new policy refuses them, as no client waits that long', async () => {
    const policy = (exceeded: string) => ({
      rules: [{ name: 'c', on: 'connect', limit: '1/hour', exceeded }],
    })
    const gate = await Gate.fromPolicy(policy('reject'))
    const test = await start({ gate })
    await gate.apply(policy('queue'))
    await test.connect()
    await expect(test.connect()).rejects.toThrow(/unavailable/i)
  })
})

describe('degrade', () => {
  it('acknowledges by the original QoS, and delivers a degraded form that is not retained', async () => {
    const test = await start({ gate: gateOf('1/hour', { degrade: { keep: ['value'], qos: 0 } }) })
    const subscriber = await test.connect()
    const got: { text: string; qos: number }[] = []
    subscriber.on('message', (_topic, payload, { qos }) => got.push({ text: payload.toString(), qos }))
    await subscriber.subscribeAsync('t/#', { qos: 2 })
    const raw = await test.connectRaw({ clientId: 'r' })
    const payload = '{"value":7,"raw":"…"}'
    raw.send(raw.publish('t/x', { payload, qos: 1, messageId: 1 }))
    await raw.until('puback', 1)
    raw.send(raw.publish('t/y', { payload, qos: 2, messageId: 2, retain: true }))
    await raw.until('pubrec', 1)
    raw.send({ cmd: 'pubrel', messageId: 2 })
    await raw.until('pubcomp', 1)
    await eventually(() => expect(got).toHaveLength(2))
    expect(got).toEqual([
      { text: payload, qos: 1 },
      { text: '{"value":7}', qos: 0 },
    ])
    expect(test.limits.stats().degraded).toBe(1)
    await subscriber.publishAsync('kept', 'kept', { qos: 1, retain: true })
    const late = await subscribeAll(await test.connect(), ['t/#', 'kept'])
    await eventually(() => expect(late.map(({ text }) => text)).toEqual(['kept']))
  })

  it('of a will delivers a degraded form, and leaves the will unchanged', async () => {
    const test = await start({ gate: gateOf('1/hour', { degrade: { strip: ['raw'] } }) })
    const seen = await subscribeAll(await test.connect(), 't/#')
    await (await test.connect()).publishAsync('t/x', 'first', { qos: 1 })
    const will = {
      topic: 't/will',
      payload: Buffer.from('{"value":1,"raw":2}'),
      qos: 1 as const,
      retain: true,
    }
    const dying = await test.connect({ will })
    dying.stream.destroy()
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['first', '{"value":1}']))
  })
})

describe('redirect', () => {
  const exceeded = { redirect: { to: 'dead/{client}/{topic}' } }

  it('publishes on another topic, not retained, with the original payload and QoS', async () => {
    const test = await start({ gate: gateOf('1/hour', exceeded) })
    const seen = await subscribeAll(await test.connect(), '#', 2)
    const publisher = await test.connect({ clientId: 'a/+b' })
    for (const qos of [1, 0, 1, 2] as const)
      await publisher.publishAsync('t/x', `q${qos}`, { qos, retain: true })
    await eventually(() => expect(seen).toHaveLength(4))
    expect(seen.map(({ topic, text }) => `${topic} ${text}`).toSorted()).toEqual([
      'dead/a__b/t/x q0',
      'dead/a__b/t/x q1',
      'dead/a__b/t/x q2',
      't/x q1',
    ])
    const late = await subscribeAll(await test.connect(), '#')
    await eventually(() => expect(late.map(({ topic }) => topic)).toEqual(['t/x']))
    expect(test.limits.stats()).toMatchObject({ redirected: 3, dropped: 0 })
  })

  it('to a topic with too many levels drops the message, and the client stays connected', async () => {
    const gate = new Gate().use(limit({ name: 'r', rate: '1/hour', exceeded }))
    const test = await start({ gate })
    const publisher = await test.connect()
    const deep = Array.from({ length: 99 }, () => 'a').join('/')
    for (let i = 0; i < 3; i++) await publisher.publishAsync(deep, 'x', { qos: 1 })
    expect(test.limits.stats()).toMatchObject({ redirected: 0, dropped: 2 })
    expect(publisher.connected).toBe(true)
  })

  it('of a will publishes it on another topic', async () => {
    const test = await start({ gate: gateOf('1/hour', exceeded) })
    const seen = await subscribeAll(await test.connect(), 'dead/#')
    await (await test.connect()).publishAsync('t/x', 'first', { qos: 1 })
    const will = { topic: 't/will', payload: Buffer.from('gone'), qos: 0 as const, retain: true }
    const dying = await test.connect({ clientId: 'dying', will })
    dying.stream.destroy()
    await eventually(() =>
      expect(seen).toEqual([{ topic: 'dead/dying/t/will', text: 'gone', retain: false }]),
    )
  })
})

describe('an outcome chosen by the application', () => {
  it('is requested for each refused publish, even if it is answered later', async () => {
    const exceeded: ExceededSpec = async message => (message.size > 3 ? 'drop' : 'deliver')
    const test = await start({ gate: gateOf('1/hour', exceeded) })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const publisher = await test.connect()
    for (const text of ['first', 'abc', 'abcd', 'ab']) await publisher.publishAsync('t/x', text, { qos: 1 })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['first', 'abc', 'ab']))
    expect(test.limits.stats().dropped).toBe(1)
  })
})
