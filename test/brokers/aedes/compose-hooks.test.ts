import { Aedes } from 'aedes'
import { afterEach, describe, expect, it } from 'vitest'
import { limitBroker } from '../../../brokers/aedes/index.ts'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { ExceededSpec } from '../../../src/chain/rules/rule-options.ts'
import { UnsupportedError } from '../../../src/core/errors.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

function gateOf(exceeded: ExceededSpec, on: 'publish' | 'deliver' = 'publish'): Gate {
  return new Gate().use('t/#', limit({ name: 'two', on, rate: '2/hour', per: 'client', exceeded }))
}

describe('the application’s hooks', () => {
  it('set before the limiter run first, and messages they refuse are not counted', async () => {
    const order: string[] = []
    running = await startBroker({
      gate: gateOf('drop').use((message, next) => {
        if (message.on === 'publish') order.push(`gate ${message.topic}`)
        return next()
      }),
      aedes: {
        authorizePublish: (_client, packet, callback) => {
          order.push(`app ${packet.topic}`)
          callback(packet.topic === 't/no' ? new Error('no') : null)
        },
      },
    })
    const raw = await running.connectRaw({ clientId: 'r' })
    raw.send(raw.publish('t/a'), raw.publish('t/no'))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(order).toEqual(['app t/a', 'gate t/a', 'app t/no'])
  })

  it('set after the limiter run first too, even asynchronous ones', async () => {
    running = await startBroker({ gate: gateOf('drop') })
    const order: string[] = []
    running.broker.authorizePublish = (_client, packet, callback) => {
      order.push(packet.topic)
      packet.topic = packet.topic.replace('alias', 't/x')
      setImmediate(() => callback(null))
    }
    const seen = await subscribeAll(await running.connect(), 't/#')
    const publisher = await running.connect()
    for (let i = 0; i < 4; i++) await publisher.publishAsync('alias', String(i), { qos: 1 })
    await eventually(() => expect(running?.limits.stats().dropped).toBe(2))
    expect(order).toHaveLength(4)
    expect(seen.map(({ topic }) => topic)).toEqual(['t/x', 't/x'])
  })

  it.each([0, 1, 2] as const)(
    'set while a client publishes let nothing past the limit, at QoS %i',
    async qos => {
      running = await startBroker({ gate: gateOf('drop') })
      const seen = await subscribeAll(await running.connect(), 't/#')
      const publisher = await running.connect()
      const publish = (text: string): Promise<unknown> => publisher.publishAsync('t/x', text, { qos })
      await publish('first')
      await eventually(() => expect(seen).toHaveLength(1))
      let asked = 0
      running.broker.authorizePublish = (_client, _packet, callback) => {
        asked++
        callback(null)
      }
      for (const text of ['second', 'third', 'fourth']) await publish(text)
      await eventually(() => expect(running?.limits.stats().dropped).toBe(2))
      await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['first', 'second']))
      expect(asked).toBe(3)
    },
  )

  it('set between two clients let no message past the limit, even of a client that publishes in its CONNECT chunk', async () => {
    running = await startBroker({ gate: gateOf('drop') })
    const seen = await subscribeAll(await running.connect(), 't/#')
    running.broker.authorizePublish = (_client, _packet, callback) => callback(null)
    const raw = await running.connectRaw()
    const publishes = ['0', '1', '2', '3'].map(payload => raw.publish('t/x', { payload }))
    const connect = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true } as const
    raw.send({ ...connect, clientId: 'r', keepalive: 0 }, ...publishes)
    await eventually(() => expect(running?.limits.stats().dropped).toBe(2))
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '1']))
  })

  it('set after the last packet of a client do not let its will past the limit', async () => {
    const gate = new Gate().use(
      't/#',
      limit({ name: 'two', rate: '1/hour', per: 'client', exceeded: 'drop' }),
    )
    running = await startBroker({ gate })
    const seen = await subscribeAll(await running.connect(), 't/#')
    const will = { topic: 't/will', payload: Buffer.from('will'), qos: 0, retain: false } as const
    const raw = await running.connectRaw({ clientId: 'r', will })
    raw.send(raw.publish('t/x', { payload: 'last' }))
    await eventually(() => expect(seen).toHaveLength(1))
    running.broker.authorizePublish = (_client, _packet, callback) => callback(null)
    raw.socket.destroy()
    await eventually(() => expect(running?.limits.stats().willsRefused).toBe(1))
    expect(seen.map(({ text }) => text)).toEqual(['last'])
  })

  it('that are restored to their earlier value do not call themselves', async () => {
    running = await startBroker({ gate: gateOf('drop') })
    const { broker } = running
    const before = broker.authorizePublish
    broker.authorizePublish = before
    const publisher = await running.connect()
    await publisher.publishAsync('t/x', 'm', { qos: 1 })
    expect(running.limits.stats().dropped).toBe(0)
  })

  it('that wrap the previous hook run once each, and the message is limited once', async () => {
    const order: string[] = []
    running = await startBroker({
      gate: gateOf('drop'),
      aedes: {
        authorizePublish: (_client, _packet, callback) => {
          order.push('first')
          callback(null)
        },
      },
    })
    const { broker } = running
    for (const name of ['second', 'third']) {
      const found = broker.authorizePublish
      broker.authorizePublish = (client, packet, callback) => {
        order.push(name)
        setImmediate(() => found(client, packet, callback))
      }
    }
    const seen = await subscribeAll(await running.connect(), 't/#')
    const publisher = await running.connect()
    for (let i = 0; i < 4; i++) await publisher.publishAsync('t/x', String(i), { qos: 1 })
    await eventually(() => expect(running?.limits.stats().dropped).toBe(2))
    expect(seen).toHaveLength(2)
    expect(order).toEqual(Array.from({ length: 4 }, () => ['third', 'second', 'first']).flat())
  })

  it('that wrap other hooks run once for each connect, subscription and delivery', async () => {
    running = await startBroker({ gate: gateOf('drop', 'deliver') })
    const { broker } = running
    const calls = { preConnect: 0, authenticate: 0, authorizeSubscribe: 0, authorizeForward: 0 }
    const { preConnect, authenticate, authorizeSubscribe, authorizeForward } = broker
    broker.preConnect = (...args) => {
      calls.preConnect++
      preConnect(...args)
    }
    broker.authenticate = (...args) => {
      calls.authenticate++
      authenticate(...args)
    }
    broker.authorizeSubscribe = (...args) => {
      calls.authorizeSubscribe++
      authorizeSubscribe(...args)
    }
    broker.authorizeForward = (...args) => {
      calls.authorizeForward++
      return authorizeForward(...args)
    }
    const seen = await subscribeAll(await running.connect(), 't/#')
    const publisher = await running.connect()
    for (let i = 0; i < 4; i++) await publisher.publishAsync('t/x', String(i), { qos: 1 })
    await eventually(() => expect(running?.limits.stats().deliveriesRefused).toBe(2))
    expect(seen).toHaveLength(2)
    expect(calls).toEqual({ preConnect: 2, authenticate: 2, authorizeSubscribe: 1, authorizeForward: 4 })
  })
})

describe('detach', () => {
  it('restores every hook and method', async () => {
    const broker = await Aedes.createBroker()
    const names = [
      'preConnect',
      'authenticate',
      'authorizePublish',
      'authorizeSubscribe',
      'authorizeForward',
    ] as const
    const before = names.map(name => Object.getOwnPropertyDescriptor(broker, name))
    const listeners = broker.eventNames().map(name => [name, broker.listenerCount(name)])
    const publish = broker.publish
    const gate = gateOf('drop')
    const limits = limitBroker(broker, gate)
    expect(broker.publish).not.toBe(publish)
    limits.detach()
    limits.detach()
    expect(names.map(name => Object.getOwnPropertyDescriptor(broker, name))).toEqual(before)
    expect(broker.eventNames().map(name => [name, broker.listenerCount(name)])).toEqual(listeners)
    expect(Object.hasOwn(broker, 'publish')).toBe(false)
    expect(broker.publish).toBe(publish)
    await new Promise<void>(resolve => broker.close(resolve))
    await gate.close()
  })

  it('keeps a hook that was set while the limiter was attached', async () => {
    const broker = await Aedes.createBroker()
    const limits = limitBroker(broker, new Gate())
    const hook: Aedes['authorizePublish'] = (_client, _packet, callback) => callback(null)
    broker.authorizePublish = hook
    limits.detach()
    expect(broker.authorizePublish).toBe(hook)
    await new Promise<void>(resolve => broker.close(resolve))
  })

  it('lets held messages pass in order, and no longer limits the client', async () => {
    running = await startBroker({ gate: gateOf('throttle'), limiter: { maxHoldMs: 4_000_000 } })
    const seen = await subscribeAll(await running.connect(), 't/#')
    const raw = await running.connectRaw({ clientId: 'r' })
    const numbers = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => raw.publish('t/x', { payload: String(from + i) }))
    raw.send(...numbers(0, 10))
    await eventually(() => expect(running?.limits.stats().held).toBe(8))
    raw.send(...numbers(10, 3_000))
    running.limits.detach()
    await eventually(() => expect(seen).toHaveLength(3_000))
    expect(seen.map(({ text }) => Number(text))).toEqual(Array.from({ length: 3_000 }, (_, i) => i))
  })
})

describe('outcomes aedes cannot enact', () => {
  it.each(['retry'] as ExceededSpec[])(
    'as %j are refused when the limiter is attached, with the rule and the remedy',
    async exceeded => {
      const broker = await Aedes.createBroker()
      const attach = () => limitBroker(broker, gateOf(exceeded))
      expect(attach).toThrow(UnsupportedError)
      expect(attach).toThrow(
        /on publish, which "two" asks for: use degrade, latest, throttle, queue, redirect, drop, reject, disconnect/,
      )
      expect(Object.hasOwn(broker, 'publish')).toBe(false)
      await new Promise<void>(resolve => broker.close(resolve))
    },
  )
  it('include redirecting a delivery', async () => {
    const broker = await Aedes.createBroker()
    expect(() => limitBroker(broker, gateOf('redirect', 'deliver'))).toThrow(
      /cannot enact "redirect" on deliver/,
    )
    await new Promise<void>(resolve => broker.close(resolve))
  })
  it('in a policy loaded later log a warning with the rule, and drop messages', async () => {
    const policy = (exceeded: string) => ({
      version: 1,
      rules: [{ name: 'two', topic: 't/#', per: 'client', limit: '2/hour', exceeded }],
    })
    const gate = await Gate.fromPolicy(policy('drop'))
    const warnings: string[] = []
    const logger = {
      debug() {},
      info() {},
      warn: (_: object, text?: string) => warnings.push(text ?? ''),
      error() {},
    }
    running = await startBroker({ gate, limiter: { logger } })
    await gate.apply(policy('retry'))
    expect(warnings).toEqual([expect.stringMatching(/cannot enact "retry" on publish, which "two" asks for/)])
    const publisher = await running.connect()
    for (let i = 0; i < 5; i++) await publisher.publishAsync('t/x', 'm', { qos: 1 })
    expect(running.limits.stats()).toMatchObject({ dropped: 3, unsupported: 3 })
  })
  it('returned by middleware drop the message and are counted', async () => {
    const gate = new Gate().use('t/#', () => ({
      allowed: false,
      outcome: 'redirect',
      reason: 'rate_limit_exceeded',
      retryAfterMs: 5,
    }))
    running = await startBroker({ gate })
    const publisher = await running.connect()
    await publisher.publishAsync('t/x', 'm', { qos: 1 })
    expect(running.limits.stats()).toMatchObject({ dropped: 1, unsupported: 1 })
  })
})

describe('invalid options', () => {
  it.each([{ dropGateMs: -1 }, { disconnectAfter: Number.NaN }, { maxHeldPerSender: 0 }])(
    'as %j are refused, and leave the broker as it was',
    async options => {
      const broker = await Aedes.createBroker()
      expect(() => limitBroker(broker, new Gate(), options)).toThrow(/leave \w+ out for its default/)
      expect(Object.hasOwn(broker, 'publish')).toBe(false)
      await new Promise<void>(resolve => broker.close(resolve))
    },
  )
})

describe('a gate that fails', () => {
  it('is replaced by the fallback', async () => {
    const gate = new Gate().use('t/#', () => {
      throw new Error('broken middleware')
    })
    running = await startBroker({ gate, limiter: { middlewareFallback: 'deny' } })
    const publisher = await running.connect()
    await publisher.publishAsync('t/x', 'm', { qos: 1 })
    expect(running.limits.stats()).toMatchObject({ fallbacks: 1, dropped: 1 })
  })
})
