import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import type { ExceededSpec } from '../../../src/outcomes/exceeded.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(rate: string, exceeded: ExceededSpec, per: 'client' | 'global' = 'client') {
  const gate = new Gate().use('t/#', limit({ name: 'fan', on: 'deliver', rate, per, exceeded }))
  running = await startBroker({ gate })
  return running
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index))
}

describe('a wildcard subscription with many retained messages', () => {
  it.each(
    (['throttle', 'queue', 'latest'] as const).flatMap(exceeded =>
      ([0, 1] as const).map(qos => ({ exceeded, qos })),
    ),
  )(
    'gets all of them at the pace of $exceeded, QoS $qos, and holds few of them at once',
    async ({ exceeded, qos }) => {
      const test = await start('200/s burst 10', exceeded)
      const publisher = await test.connect({ clientId: 'p' })
      for (let i = 0; i < 60; i++) await publisher.publishAsync(`t/${i}`, 'x', { retain: true, qos: 1 })
      const beganMs = performance.now()
      const seen = await subscribeAll(await test.connect({ clientId: 's' }), 't/+', qos)
      await eventually(() => expect(seen).toHaveLength(60))
      // 50 of them at 200/s; no upper bound, as the machine may be busy.
      expect(performance.now() - beganMs).toBeGreaterThan(200)
      expect(new Set(seen.map(({ topic }) => topic)).size).toBe(60)
      expect(seen.every(({ retain }) => retain)).toBe(true)
      expect(test.limits.stats()).toMatchObject({ deliveriesRefused: 0, superseded: 0, held: 0 })
      expect(test.limits.stats().heldPeak).toBeLessThanOrEqual(2)
    },
  )
})

describe('a delayed delivery', () => {
  it('keeps the order of its subscriber, and delays no other subscriber', async () => {
    const test = await start('100/s burst 5', 'throttle')
    const one = await subscribeAll(await test.connect({ clientId: 'one' }), 't/#')
    const other = await subscribeAll(await test.connect({ clientId: 'other' }), 'other')
    const publisher = await test.connect({ clientId: 'p' })
    for (const text of numbers(30)) publisher.publish('t/x', text)
    await publisher.publishAsync('other', 'x', { qos: 1 })
    await eventually(() => expect(other).toHaveLength(1))
    expect(one.length).toBeLessThan(30)
    await eventually(() => expect(one.map(({ text }) => text)).toEqual(numbers(30)))
  })
  it('under one limit for all is shared between subscribers in turns', async () => {
    const test = await start('50/s burst 1', 'queue', 'global')
    const many = await subscribeAll(await test.connect({ clientId: 'many' }), 't/many')
    const few = await subscribeAll(await test.connect({ clientId: 'few' }), 't/few')
    const publisher = await test.connect({ clientId: 'p' })
    for (const text of numbers(40)) await publisher.publishAsync('t/many', text, { qos: 1 })
    for (const text of numbers(5)) await publisher.publishAsync('t/few', text, { qos: 1 })
    await eventually(() => expect(few.map(({ text }) => text)).toEqual(numbers(5)))
    expect(many.length).toBeLessThan(40)
    await eventually(() => expect(many.map(({ text }) => text)).toEqual(numbers(40)))
  })
  it('of QoS 1 to a persistent session survives the loss of the connection', async () => {
    const test = await start('1/min burst 2', 'throttle')
    const first = await test.connectRaw({ clientId: 'keeps', clean: false })
    first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't/#', qos: 1 }] })
    await first.until('suback')
    const publisher = await test.connect({ clientId: 'p' })
    for (const text of numbers(5)) await publisher.publishAsync('t/x', text, { qos: 1 })
    await first.until('publish', 2)
    for (const packet of first.packets)
      if (packet.cmd === 'publish') first.send({ cmd: 'puback', messageId: packet.messageId! })
    await first.roundTrip()
    expect(test.limits.stats().held).toBe(3)
    first.socket.destroy()
    await eventually(() => expect(test.limits.stats()).toMatchObject({ held: 0, discarded: 3 }))
    const second = await test.connectRaw({ clientId: 'keeps', clean: false })
    await second.until('publish', 3)
    const texts = second.packets.flatMap(packet => (packet.cmd === 'publish' ? [String(packet.payload)] : []))
    expect(texts).toEqual(['2', '3', '4'])
  })
  it('with outcome `latest` leaves no older message in a session', async () => {
    const test = await start('1/hour burst 1', 'latest')
    const first = await test.connectRaw({ clientId: 'keeps', clean: false })
    first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't/#', qos: 1 }] })
    await first.until('suback')
    const publisher = await test.connect({ clientId: 'p' })
    for (const text of numbers(5)) await publisher.publishAsync('t/x', text, { qos: 1 })
    const received = await first.until('publish')
    first.send({ cmd: 'puback', messageId: (received as { messageId?: number }).messageId! })
    await first.roundTrip()
    await eventually(() => expect(test.limits.stats().superseded).toBe(3))
    first.socket.destroy()
    await eventually(() => expect(test.limits.stats().held).toBe(0))
    const second = await test.connectRaw({ clientId: 'keeps', clean: false })
    await second.until('publish')
    await second.roundTrip()
    const texts = second.packets.flatMap(packet => (packet.cmd === 'publish' ? [String(packet.payload)] : []))
    expect(texts).toEqual(['4'])
  })
  it('passes when the limiter is detached', async () => {
    const test = await start('1/min burst 1', 'throttle')
    const seen = await subscribeAll(await test.connect({ clientId: 's' }), 't/#')
    const publisher = await test.connect({ clientId: 'p' })
    for (const text of numbers(5)) await publisher.publishAsync('t/x', text, { qos: 1 })
    await eventually(() => expect(test.limits.stats().held).toBe(4))
    test.limits.detach()
    await publisher.publishAsync('t/x', '5', { qos: 1 })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(numbers(6)))
  })
  it('is decided for retained messages, $SYS and broker.publish, not for messages restored by a session', async () => {
    const gate = new Gate()
    const asked: string[] = []
    gate.use(limit({ name: 'all', on: 'deliver', rate: '1000/s' }))
    gate.on('decision', (_decision, { on, topic }) => {
      if (on === 'deliver') asked.push(topic.replace(/^\$SYS\/[^/]+/, '$SYS'))
    })
    const test = await startBroker({ gate })
    running = test
    const publisher = await test.connect({ clientId: 'p' })
    await publisher.publishAsync('retained', 'x', { retain: true, qos: 1 })
    const subscriber = await test.connect({ clientId: 's', clean: false })
    const seen = await subscribeAll(subscriber, ['retained', 'own', 'queued', '$SYS/+/disconnect/clients'], 1)
    await eventually(() => expect(seen).toHaveLength(1))
    test.broker.publish(
      { cmd: 'publish', topic: 'own', payload: 'x', qos: 1, retain: false, dup: false },
      () => {},
    )
    await publisher.endAsync()
    await eventually(() => expect(seen).toHaveLength(3))
    await subscriber.endAsync()
    const again = await test.connect({ clientId: 'q' })
    await again.publishAsync('queued', 'x', { qos: 1 })
    const back = await test.connectRaw({ clientId: 's', clean: false })
    await back.until('publish')
    expect(asked.toSorted()).toEqual(['$SYS/disconnect/clients', 'own', 'retained'])
  })
})
