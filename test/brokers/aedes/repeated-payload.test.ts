import { afterEach, describe, expect, it } from 'vitest'
import { Gate } from '../../../src/index.ts'
import { eventually, type Setup, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})
async function start(rules: readonly object[], limiter: Setup['limiter'] = {}): Promise<TestBroker> {
  running = await startBroker({ gate: await Gate.fromPolicy({ rules }), limiter })
  return running
}

const REPEATS = { name: 'repeats', topic: 't/#', unchanged: 'drop' }

describe('a repeated payload', () => {
  it.each([0, 1, 2] as const)('at QoS %i is acknowledged and not delivered', async qos => {
    const test = await start([REPEATS], { disconnectAfter: 3 })
    const seen = await subscribeAll(await test.connect(), 't/#')
    const publisher = await test.connect({ clientId: 'p' })
    for (const text of ['on', 'on', 'on', 'on', 'on', '{"v":1}', '{"v":1}', 'on'])
      await publisher.publishAsync('t/x', text, { qos })
    await publisher.publishAsync('t/y', 'on', { qos })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['on', '{"v":1}', 'on', 'on']))
    expect(test.limits.stats()).toMatchObject({ dropped: 5, disconnected: 0 })
    expect(publisher.connected).toBe(true)
  })

  it('is detected in payloads that are not JSON', async () => {
    const test = await start([
      REPEATS,
      { name: 'rate', topic: 't/#', limit: '4/hour', per: 'client', exceeded: 'drop' },
    ])
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    const payloads = [Buffer.from([0, 1, 255]), Buffer.from([0, 1, 254])]
    // Several segments: what comes after the first refusal is decided from its bytes.
    for (const payload of payloads) {
      for (let segment = 0; segment < 10; segment++) {
        raw.send(...Array.from({ length: 4 }, () => raw.publish('t/x', { payload })))
        await raw.roundTrip()
      }
    }
    raw.send(raw.publish('t/x', { payload: payloads[0]! }), raw.publish('t/x', { payload: 'last' }))
    raw.send(raw.publish('t/x', { payload: 'beyond the rate' }), raw.publish('t/x', { payload: 'last' }))
    await raw.roundTrip()
    await eventually(() => expect(test.limits.stats().dropped).toBe(80))
    await eventually(() => expect(seen).toHaveLength(4))
    expect(seen[3]?.text).toBe('last')
  })

  it('passes as a duplicate of QoS 1, whose first delivery may be lost', async () => {
    const test = await start([REPEATS])
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    const again = { qos: 1, messageId: 1, payload: 'a' } as const
    raw.send(raw.publish('t/x', again), raw.publish('t/x', { ...again, dup: true }))
    raw.send(raw.publish('t/x', { ...again, messageId: 2 }))
    await raw.until('puback', 3)
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['a', 'a']))
  })

  it('is delivered once if a packet of QoS 2 is resent', async () => {
    const test = await start([REPEATS])
    const seen = await subscribeAll(await test.connect(), 't/#')
    const raw = await test.connectRaw({ clientId: 'r' })
    const sent = { qos: 2, messageId: 7, payload: 'a' } as const
    raw.send(raw.publish('t/x', sent), raw.publish('t/x', { ...sent, dup: true }))
    await raw.until('pubrec', 2)
    raw.send({ cmd: 'pubrel', messageId: 7 })
    await raw.until('pubcomp')
    raw.send(raw.publish('t/x', { ...sent, messageId: 8 }), raw.publish('t/x', { payload: 'b' }))
    await raw.until('pubrec', 3)
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['a', 'b']))
  })

  it('passes after any client removed the retained message', async () => {
    const test = await start([REPEATS])
    const [a, b] = [await test.connect({ clientId: 'a' }), await test.connect({ clientId: 'b' })]
    const publish = (client: typeof a, text: string): Promise<unknown> =>
      client.publishAsync('t/x', text, { qos: 1, retain: true })
    await publish(a, 'on')
    await publish(a, 'on')
    expect(test.limits.stats().dropped).toBe(1)
    await publish(b, '')
    await publish(b, '')
    await publish(a, 'on')
    expect(test.limits.stats().dropped).toBe(1)
    const late = await subscribeAll(await test.connect(), 't/#')
    await eventually(() => expect(late.map(({ text }) => text)).toEqual(['on']))
  })

  it('passes behind a message that is held', async () => {
    const test = await start([
      REPEATS,
      { name: 'rate', topic: 't/#', limit: '10/s burst 1', per: 'client', exceeded: 'throttle' },
    ])
    const seen = await subscribeAll(await test.connect(), 't/#')
    const publisher = await test.connect({ clientId: 'p' })
    const texts = ['a', 'b', 'a', 'a', 'b']
    await Promise.all(texts.map(text => publisher.publishAsync('t/x', text, { qos: 1 })))
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['a', 'b', 'a', 'b']))
  })
})
