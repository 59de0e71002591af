import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

const RULES = {
  'no rule': () => new Gate(),
  'a rule about other deliveries': () =>
    new Gate().use('other/#', limit({ name: 'other', on: 'deliver', rate: '5/s', exceeded: 'drop' })),
  'a rule about these deliveries': () =>
    new Gate().use('t/#', limit({ name: 'these', on: 'deliver', rate: '1000/s', exceeded: 'drop' })),
  'an application that asks about each delivery': () => new Gate(),
}

describe('a ban of a connected client', () => {
  it.each(Object.entries(RULES))(
    'stops what it publishes, subscribes to and gets, with %s',
    async (name, make) => {
      const limiter = name.startsWith('an application') ? { limitDeliveries: true } : {}
      const test = await startBroker({ gate: make(), limiter })
      running = test
      const thief = await test.connect({ clientId: 'thief' })
      const stolen = await subscribeAll(thief, 't/#')
      const other = await test.connect({ clientId: 'other' })
      const seen = await subscribeAll(other, 't/#')
      await other.publishAsync('t/before', '0', { qos: 1 })
      await eventually(() => expect(stolen).toHaveLength(1))
      await test.gate.bans.add({ client: 'thief', reason: 'key stolen', addedBy: 'bob', for: '1d' })
      for (let i = 0; i < 10; i++) await other.publishAsync('t/x', String(i), { qos: 1 })
      await thief.publishAsync('t/thief', 'x', { qos: 1 })
      await expect(thief.subscribeAsync('more/#')).rejects.toThrow()
      await other.publishAsync('t/last', 'x', { qos: 1 })
      await eventually(() => expect(seen.at(-1)?.topic).toBe('t/last'))
      expect(seen.map(({ topic }) => topic)).not.toContain('t/thief')
      expect(stolen).toHaveLength(1)
      expect(test.limits.stats()).toMatchObject({
        deliveriesRefused: 11,
        subscriptionsRefused: 1,
        dropped: 1,
      })
      await test.gate.bans.remove('client:thief')
      await other.publishAsync('t/after', 'x', { qos: 1 })
      await eventually(() => expect(stolen.map(({ topic }) => topic)).toEqual(['t/before', 't/after']))
    },
  )
  it('with outcome `disconnect` closes the connections of idle clients', async () => {
    const test = await startBroker()
    running = test
    const silent = await test.connectRaw({ clientId: 'silent', username: 'eve' })
    const other = await test.connectRaw({ clientId: 'other', username: 'ann' })
    await test.gate.bans.add({ user: 'eve', reason: 'x', addedBy: 'bob', outcome: 'disconnect' })
    await eventually(() => expect(silent.closed).toBe(true))
    await other.roundTrip()
    expect(test.limits.stats()).toMatchObject({ disconnected: 1, connections: 1 })
  })
  it('keeps messages of QoS 1 in the session’s queue until it ends, then delivers them in order', async () => {
    const test = await startBroker()
    running = test
    const banned = await test.connect({ clientId: 'keeps', clean: false })
    const seen = await subscribeAll(banned, 't/#', 1)
    const other = await test.connect({ clientId: 'other' })
    await test.gate.bans.add({ client: 'keeps', reason: 'x', addedBy: 'bob' })
    for (let i = 0; i < 5; i++) await other.publishAsync('t/x', String(i), { qos: 1 })
    await eventually(() => expect(test.limits.stats().deliveriesRefused).toBe(5))
    expect(seen).toEqual([])
    await test.gate.bans.remove('client:keeps')
    await other.publishAsync('t/x', '5', { qos: 1 })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4', '5']))
    await other.publishAsync('t/x', '6', { qos: 1 })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4', '5', '6']))
  })
  it('set by a penalty stops deliveries too', async () => {
    const gate = new Gate({ penalties: { block: '60s', after: '2 refusals in 10s' } }).use(
      limit({ name: 'c', rate: '1/hour', per: 'client', exceeded: 'drop' }),
    )
    const test = await startBroker({ gate })
    running = test
    const flooder = await test.connect({ clientId: 'flooder' })
    const seen = await subscribeAll(flooder, 't/#')
    for (let i = 0; i < 4; i++) await flooder.publishAsync('x', 'x', { qos: 1 })
    expect(gate.bans.size).toBe(1)
    const other = await test.connect({ clientId: 'other' })
    await other.publishAsync('t/x', 'x', { qos: 1 })
    await eventually(() => expect(test.limits.stats().deliveriesRefused).toBe(1))
    expect(seen).toEqual([])
  })
})
