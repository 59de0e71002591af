import type { EventEmitter } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
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

/** Two messages, then none for an hour. */
function twoPass(exceeded: 'drop' | 'reject' | 'disconnect' | 'throttle'): Gate {
  return new Gate().use('t/#', limit({ name: 'two', rate: '2/hour', per: 'client', exceeded }))
}

describe('a dropped publish', () => {
  it.each([0, 1, 2] as const)('at QoS %i is acknowledged, and neither delivered nor retained', async qos => {
    const { broker, limits, ...test } = await start({ gate: twoPass('drop') }).then(t => ({
      broker: t.broker,
      limits: t.limits,
      connect: t.connect.bind(t),
    }))
    const told: string[] = []
    broker.on('publish', packet => told.push(packet.payload.toString()))
    const seen = await subscribeAll(await test.connect(), 't/#')
    const publisher = await test.connect()
    for (let i = 0; i < 6; i++) await publisher.publishAsync('t/x', `m${i}`, { qos, retain: i > 1 })
    await publisher.publishAsync('other', 'end', { qos })
    await eventually(() => expect(limits.stats().dropped).toBe(4))
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['m0', 'm1']))
    await publisher.publishAsync('kept', 'kept', { qos: 1, retain: true })
    const late = await subscribeAll(await test.connect(), ['t/#', 'kept'])
    await eventually(() => expect(late.map(({ text }) => text)).toEqual(['kept']))
    expect(told.filter(text => /^m\d$/.test(text))).toEqual(['m0', 'm1'])
  })

  it('is treated like a rejected one on MQTT 3.1.1', async () => {
    const test = await start({ gate: twoPass('reject') })
    const publisher = await test.connect()
    for (let i = 0; i < 5; i++) await publisher.publishAsync('t/x', 'm', { qos: 1 })
    expect(test.limits.stats().dropped).toBe(3)
    expect(publisher.connected).toBe(true)
  })

  it('pauses reading of a client after frequent refusals, and resumes it', async () => {
    const test = await start({ gate: twoPass('drop'), limiter: { dropGateMs: 200, dropGateAfter: 5 } })
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...Array.from({ length: 10 }, (_, id) => raw.publish('t/x', { qos: 1, messageId: id + 1 })))
    await raw.until('puback', 10)
    const sentMs = performance.now()
    raw.send({ cmd: 'pingreq' })
    await raw.until('pingresp')
    expect(performance.now() - sentMs).toBeGreaterThan(50)
  })

  it('disconnects a client that continues, if that is configured', async () => {
    const test = await start({ gate: twoPass('drop'), limiter: { disconnectAfter: 5 } })
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...Array.from({ length: 20 }, (_, id) => raw.publish('t/x', { qos: 1, messageId: id + 1 })))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(test.limits.stats()).toMatchObject({ dropped: 4, disconnected: 1 })
  })

  it('is logged once per rule and client', async () => {
    const lines: { rule?: string; suppressed?: number }[] = []
    const logger = { debug() {}, info: (fields: object) => lines.push(fields), warn() {}, error() {} }
    const test = await start({ gate: twoPass('drop'), limiter: { logger } })
    const publisher = await test.connect({ clientId: 'noisy' })
    for (let i = 0; i < 50; i++) await publisher.publishAsync('t/x', 'm', { qos: 1 })
    expect(lines).toMatchObject([{ rule: 'two', client: 'noisy', topic: 't/x', outcome: 'drop' }])
  })
})

describe('disconnect', () => {
  it('acknowledges passed messages, closes the client, and accepts no further message', async () => {
    const test = await start({ gate: twoPass('disconnect') })
    const errors: string[] = []
    test.broker.on('clientError', (_, error) => errors.push(error.message))
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...Array.from({ length: 9 }, (_, id) => raw.publish('t/x', { qos: 1, messageId: id + 1 })))
    await eventually(() => expect(raw.closed).toBe(true))
    await eventually(() => expect(seen).toHaveLength(2))
    expect(raw.packets.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId)).toEqual([
      1, 2,
    ])
    expect(test.limits.stats().disconnected).toBe(1)
    expect(errors[0]).toMatch(/publish refused by rule "two": rate_limit_exceeded, retry after \d+ ms/)
  })
})

describe('throttle', () => {
  it('delays messages over the limit, in order, at every QoS', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 't', rate: '100/s burst 5', per: 'client', exceeded: 'throttle' }),
    )
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 't/#', 2)
    const publisher = await test.connect()
    const startMs = performance.now()
    const sent = Array.from({ length: 45 }, (_, i) =>
      publisher.publishAsync('t/x', String(i), { qos: (i % 3) as 0 }),
    )
    await Promise.all(sent)
    await eventually(() => expect(seen).toHaveLength(45))
    expect(performance.now() - startMs).toBeGreaterThan(380)
    // Across QoS levels aedes itself keeps no order.
    for (const qos of [0, 1, 2]) {
      const numbers = seen.map(({ text }) => Number(text)).filter(i => i % 3 === qos)
      expect(numbers).toEqual(Array.from({ length: 15 }, (_, i) => 3 * i + qos))
    }
  })
  it('passes QoS 0 messages of a closed connection in their turn, and drops unacknowledged ones', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 't', rate: '50/s burst 1', per: 'client', exceeded: 'throttle' }),
    )
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(
      ...Array.from({ length: 10 }, (_, i) =>
        i % 2 === 0
          ? raw.publish('t/x', { payload: String(i) })
          : raw.publish('t/x', { payload: String(i), qos: 1, messageId: i }),
      ),
      { cmd: 'disconnect' },
    )
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '2', '4', '6', '8']))
    expect(test.limits.stats()).toMatchObject({ held: 0, discarded: 5 })
  })
  it('holds no more than its bounds, and drops and counts the rest', async () => {
    const test = await start({
      gate: twoPass('throttle'),
      limiter: { maxHeldPerSender: 10, maxHoldMs: 4_000_000 },
    })
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...Array.from({ length: 30 }, (_, id) => raw.publish('t/x', { qos: 1, messageId: id + 1 })))
    await raw.until('puback', 20)
    expect(test.limits.stats()).toMatchObject({ held: 10, overflowed: 18, dropped: 18 })
  })
  it('of a message that can never pass drops it at once', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 'bytes', rate: '10B/s', cost: 'bytes', exceeded: 'throttle' }),
    )
    const test = await start({ gate })
    const publisher = await test.connect()
    await publisher.publishAsync('t/x', 'longer than the bucket', { qos: 1 })
    expect(test.limits.stats()).toMatchObject({ overflowed: 1, dropped: 1, held: 0 })
  })
})

describe('a broker that closes', () => {
  it('drops and counts held messages, and does not hang', async () => {
    const test = await start({ gate: twoPass('throttle'), limiter: { maxHoldMs: 4_000_000 } })
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(...Array.from({ length: 12 }, () => raw.publish('t/x')))
    await eventually(() => expect(test.limits.stats().held).toBe(10))
    await test.close()
    running = undefined
    await eventually(() =>
      expect(test.limits.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: 10, connections: 0 }),
    )
  })
})

describe('messages that are not limited', () => {
  it('are those of the application, and $SYS', async () => {
    const gate = new Gate().use(limit({ name: 'none', rate: '1/hour', exceeded: 'drop' }))
    const test = await start({ gate, aedes: { heartbeatInterval: 100 } })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const beats = await subscribeAll(await test.connect(), '$SYS/+/heartbeat')
    for (let i = 0; i < 20; i++) {
      test.broker.publish(
        { cmd: 'publish', topic: 't/x', payload: Buffer.from(String(i)), qos: 0, retain: false, dup: false },
        () => {},
      )
    }
    await eventually(() => expect(seen).toHaveLength(20))
    await eventually(() => expect(beats.length).toBeGreaterThan(1))
    expect(test.limits.stats().dropped).toBe(0)
  })
})

describe('$SYS', () => {
  it('is closed to publishes of clients, even if the application has its own hook', async () => {
    const test = await start({})
    test.broker.authorizePublish = (_client, _packet, callback) => callback(null)
    const told: string[] = []
    test.broker.on('publish', packet => told.push(packet.topic))
    const raw = await test.connectRaw({ clientId: 'r' })
    raw.send(raw.publish('$SYS/evil'))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(told).not.toContain('$SYS/evil')
  })
})

describe('a will', () => {
  it('is limited, without an error of the broker', async () => {
    const gate = new Gate().use('wills/#', limit({ name: 'wills', rate: '2/hour', exceeded: 'drop' }))
    const test = await start({ gate })
    const errors: Error[] = []
    const emitter: EventEmitter = test.broker
    emitter.on('error', error => errors.push(error))
    const seen = await subscribeAll(await test.connect(), 'wills/#')
    for (let i = 0; i < 5; i++) {
      const raw = await test.connectRaw({
        clientId: `r${i}`,
        will: { topic: `wills/${i}`, payload: Buffer.from('gone'), qos: 1, retain: true },
      })
      raw.socket.destroy()
    }
    await eventually(() => expect(test.limits.stats().willsRefused).toBe(3))
    await eventually(() => expect(seen).toHaveLength(2))
    expect(errors).toEqual([])
  })
  it('that is throttled follows earlier messages of its client, after a delay', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 't', rate: '20/s burst 1', per: 'client', exceeded: 'throttle' }),
    )
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({
      clientId: 'r',
      will: { topic: 't/will', payload: Buffer.from('will'), qos: 0, retain: false },
    })
    raw.send(...['1', '2', '3'].map(payload => raw.publish('t/x', { payload })))
    await eventually(() => expect(test.limits.stats().held).toBe(2))
    raw.socket.destroy()
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['1', '2', '3', 'will']))
  })
})

describe('an exemption for wills', () => {
  it('covers only wills, within its own limit', async () => {
    const gate = await Gate.fromPolicy({
      version: 1,
      exempt: [{ name: 'wills', when: { will: true }, limit: '2/hour' }],
      rules: [{ name: 'all', topic: 'status/#', limit: '1/hour', exceeded: 'drop' }],
    })
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 'status/#')
    for (let i = 0; i < 4; i++) {
      const will = { topic: 'status/r', payload: Buffer.from('will'), qos: 0, retain: false } as const
      const raw = await test.connectRaw({ clientId: 'r', will })
      raw.send(raw.publish('status/r'))
      await raw.roundTrip()
      raw.socket.destroy()
      await eventually(() => expect(test.limits.stats().connections).toBe(1))
    }
    await eventually(() => expect(test.limits.stats()).toMatchObject({ willsRefused: 2, dropped: 3 }))
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['x', 'will', 'will']))
  })
})

describe('a maximum size', () => {
  it('drops larger messages at publish and at delivery, also during a flood', async () => {
    const gate = await Gate.fromPolicy({
      version: 1,
      rules: [
        { name: 'in', topic: 't/#', maxSize: 100, exceeded: 'drop' },
        {
          name: 'out',
          topic: 't/#',
          on: 'deliver',
          maxSize: 50,
          for: { clients: ['small'] },
          exceeded: 'drop',
        },
        { name: 'rate', topic: 't/#', limit: '5/hour', per: 'client', exceeded: 'drop' },
      ],
    })
    const test = await start({ gate })
    const all = await subscribeAll(await test.connect({ clientId: 'all' }), 't/#')
    const small = await subscribeAll(await test.connect({ clientId: 'small' }), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    // Several segments: what comes after the first refusal is decided from its bytes.
    for (let segment = 0; segment < 20; segment++) {
      for (const size of [101, 102]) raw.send(raw.publish('t/x', { payload: 'x'.repeat(size) }))
      await raw.roundTrip()
    }
    for (const size of [100, 50, 101, 51]) raw.send(raw.publish('t/x', { payload: 'y'.repeat(size) }))
    await raw.roundTrip()
    raw.send(raw.publish('t/x', { payload: 'last' }))
    await eventually(() => expect(all.map(({ text }) => text.length)).toEqual([100, 50, 51, 4]))
    await eventually(() => expect(small.map(({ text }) => text.length)).toEqual([50, 4]))
    expect(test.limits.stats()).toMatchObject({ dropped: 41, deliveriesRefused: 2 })
  })
})

describe('a rule for wills', () => {
  it('counts only wills, beside rules for all publishes', async () => {
    const gate = await Gate.fromPolicy({
      version: 1,
      rules: [
        { name: 'all', topic: 'status/#', limit: '100/hour', per: 'client' },
        { name: 'wills', when: { will: true }, limit: '2/hour', per: 'client', exceeded: 'drop' },
      ],
    })
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 'status/#')
    for (let i = 0; i < 4; i++) {
      const will = { topic: 'status/r', payload: Buffer.from('will'), qos: 0, retain: false } as const
      const raw = await test.connectRaw({ clientId: 'r', will })
      for (let sent = 0; sent < 3; sent++) raw.send(raw.publish('status/r'))
      await raw.roundTrip()
      raw.socket.destroy()
      await eventually(() => expect(test.limits.stats().connections).toBe(1))
    }
    await eventually(() => expect(test.limits.stats()).toMatchObject({ willsRefused: 2, dropped: 0 }))
    await eventually(() => expect(seen).toHaveLength(14))
    expect(seen.filter(({ text }) => text === 'will')).toHaveLength(2)
  })
})

describe('the will of a client that a policy disconnects', () => {
  const will = { topic: 'status/r', payload: Buffer.from('offline'), qos: 1, retain: true } as const

  async function watchStatus(test: TestBroker, bans = false): Promise<string[]> {
    const seen = await subscribeAll(await test.connect(), 'status/#')
    const raw = await test.connectRaw({ clientId: 'r', will })
    raw.send(raw.publish('status/r', { payload: 'online', retain: true }))
    await raw.roundTrip()
    if (bans) await test.gate.bans.add({ client: 'r', reason: 'test' })
    for (let i = 0; i < 20 && !raw.closed; i++) raw.send(raw.publish('status/r', { payload: 'busy' }))
    if (bans) raw.socket.destroy()
    await eventually(() => expect(raw.closed).toBe(true))
    await eventually(() => expect(test.limits.stats().connections).toBe(1))
    const last = await test.connect({ clientId: 'last' })
    await last.publishAsync('status/last', 'last', { qos: 1 })
    await eventually(() => expect(seen.at(-1)?.text).toBe('last'))
    return seen.map(({ text }) => text)
  }
  const two = (exceeded: 'drop' | 'disconnect'): Gate =>
    new Gate().use('status/r', limit({ name: 'two', rate: '2/hour', per: 'client', exceeded }))

  it('is published even if the rule that disconnects covers it', async () => {
    const test = await start({ gate: two('disconnect') })
    expect(await watchStatus(test)).toEqual(['online', 'busy', 'offline', 'last'])
    expect(test.limits.stats()).toMatchObject({ disconnected: 1, willsRefused: 0 })
  })

  it('is published after too many refusals', async () => {
    const test = await start({ gate: two('drop'), limiter: { disconnectAfter: 3 } })
    expect(await watchStatus(test)).toEqual(['online', 'busy', 'offline', 'last'])
  })

  it('is not published if the client is banned', async () => {
    const test = await start({ gate: two('disconnect') })
    expect(await watchStatus(test, true)).toEqual(['online', 'last'])
    expect(test.limits.stats().willsRefused).toBe(1)
  })

  it('is bounded by rules for connects, like all wills', async () => {
    const gate = two('disconnect').use(
      limit({ name: 'connects', on: 'connect', rate: '3/hour', per: 'client', exceeded: 'reject' }),
    )
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 'status/#')
    for (let i = 0; i < 6; i++) {
      const raw = await test.connectRaw()
      raw.send({
        ...{
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: true,
          clientId: 'r',
          keepalive: 0,
        },
        will,
      })
      await raw.until('connack')
      raw.send(...Array.from({ length: 3 }, () => raw.publish('status/r', { payload: 'busy' })))
      await eventually(() => expect(raw.closed).toBe(true))
    }
    await eventually(() => expect(seen.filter(({ text }) => text === 'offline')).toHaveLength(3))
    await (await test.connect()).publishAsync('status/last', 'last')
    await eventually(() => expect(seen.at(-1)?.text).toBe('last'))
    expect(seen.filter(({ text }) => text === 'offline')).toHaveLength(3)
  })
})

describe('a resent QoS 2 message', () => {
  it('is counted once, and acknowledged again', async () => {
    const test = await start({ gate: twoPass('drop') })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const connect = { clientId: 'r', clean: false }
    const first = await test.connectRaw(connect)
    first.send(first.publish('t/x', { qos: 2, messageId: 7, payload: 'a' }))
    await first.until('pubrec')
    first.socket.destroy()
    const second = await test.connectRaw(connect)
    for (let i = 1; i <= 3; i++) {
      second.send(second.publish('t/x', { qos: 2, messageId: 7, payload: 'a', dup: true }))
      await second.until('pubrec', i)
    }
    second.send({ cmd: 'pubrel', messageId: 7 }, second.publish('t/x', { payload: 'b' }))
    await second.until('pubcomp')
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['a', 'b']))
    expect(test.limits.stats().dropped).toBe(0)
  })
})

describe('untrusted input', () => {
  it('that is hostile is decided like any other', async () => {
    const gate = new Gate().use(
      limit({
        name: 'all',
        rate: '1000/s',
        per: ['client', 'topic'],
        cost: { payload: 'cost' },
        exceeded: 'drop',
      }),
    )
    const test = await start({ gate })
    const errors: string[] = []
    test.broker.on('clientError', (_, error) => errors.push(error.message))
    const raw = await test.connectRaw({ clientId: `__proto__${'ü'.repeat(16_000)}`, username: 'constructor' })
    const payloads = [
      '{"cost":',
      '{"cost":"1e309"}',
      '{"__proto__":{"cost":-1}}',
      Buffer.from([0, 0xff]),
      '[]',
      'null',
    ]
    const topics = ['x'.repeat(65_535), '__proto__', '/', `${'/'.repeat(99)}`, 'a/\u0001/b', 'hasOwnProperty']
    let id = 0
    for (const payload of payloads) {
      for (const topic of topics) raw.send(raw.publish(topic, { payload, qos: 1, messageId: ++id }))
    }
    await raw.until('puback', id)
    expect(raw.closed).toBe(false)
    expect(errors).toEqual([])
    expect(test.limits.stats().fallbacks).toBe(0)
  })
  it('in payloads of a megabyte is held within the bound of bytes', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 't', rate: '4/s burst 1', per: 'client', exceeded: 'throttle' }),
    )
    const test = await start({ gate })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    let peakBytes = 0
    const watch = setInterval(() => {
      peakBytes = Math.max(peakBytes, test.limits.stats().heldBytes)
    }, 5)
    const payload = Buffer.alloc(1_048_576, 'x')
    for (let i = 0; i < 8; i++) raw.send(raw.publish(`t/${i}`, { payload }))
    await eventually(() => expect(seen).toHaveLength(8))
    clearInterval(watch)
    expect(seen.map(({ topic }) => topic)).toEqual(Array.from({ length: 8 }, (_, i) => `t/${i}`))
    expect(peakBytes).toBeGreaterThan(0)
    expect(peakBytes).toBeLessThanOrEqual(4_194_304)
  })
})
