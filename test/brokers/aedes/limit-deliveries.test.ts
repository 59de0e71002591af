import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(exceeded: 'drop' | 'disconnect'): Promise<TestBroker> {
  const gate = new Gate().use(
    't/#',
    limit({ name: 'fan', on: 'deliver', rate: '3/hour', per: 'client', exceeded }),
  )
  running = await startBroker({ gate })
  return running
}

describe('a limited delivery', () => {
  it('is withheld from the refused subscriber only', async () => {
    const test = await start('drop')
    const one = await subscribeAll(await test.connect({ clientId: 'one' }), 't/#')
    const publisher = await test.connect({ clientId: 'p' })
    for (let i = 0; i < 5; i++) await publisher.publishAsync('t/x', String(i), { qos: 1 })
    const two = await subscribeAll(await test.connect({ clientId: 'two' }), 't/#')
    await publisher.publishAsync('t/x', '5', { qos: 1 })
    await eventually(() => expect(two.map(({ text }) => text)).toEqual(['5']))
    expect(one.map(({ text }) => text)).toEqual(['0', '1', '2'])
    expect(test.limits.stats()).toMatchObject({ deliveriesRefused: 3, deliveriesSpared: 0 })
  })
  it('at QoS 1 to a persistent session is delivered and counted, as aedes would lose another message', async () => {
    const test = await start('drop')
    const seen = await subscribeAll(await test.connect({ clientId: 'keeps', clean: false }), 't/#', 1)
    const publisher = await test.connect({ clientId: 'p' })
    for (let i = 0; i < 6; i++) await publisher.publishAsync('t/x', String(i), { qos: 1 })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4', '5']))
    expect(test.limits.stats()).toMatchObject({ deliveriesRefused: 0, deliveriesSpared: 3 })
  })
  it('disconnects the subscriber if the rule’s outcome is `disconnect`', async () => {
    const test = await start('disconnect')
    const subscriber = await test.connect({ clientId: 'one' })
    await subscribeAll(subscriber, 't/#')
    const publisher = await test.connect({ clientId: 'p' })
    for (let i = 0; i < 5; i++) await publisher.publishAsync('t/x', String(i), { qos: 1 })
    await eventually(() => expect(subscriber.connected).toBe(false))
  })
})

describe('a subscriber that does not read', () => {
  it('gets no deliveries beyond its unsent bytes, and delays no other subscriber', async () => {
    running = await startBroker({ limiter: { maxUnsentBytes: 200_000 } })
    const frozen = await running.connectRaw({ clientId: 'frozen' })
    frozen.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't/#', qos: 0 }] })
    await frozen.until('suback')
    frozen.socket.pause()
    const seen = await subscribeAll(await running.connect({ clientId: 'reads' }), 't/#')
    const publisher = await running.connect({ clientId: 'p' })
    const payload = Buffer.alloc(100_000)
    for (let i = 0; i < 150; i++) await publisher.publishAsync('t/x', payload, { qos: 1 })
    await eventually(() => expect(seen).toHaveLength(150))
    expect(running.limits.stats().frozen).toBeGreaterThan(0)
  })
})
