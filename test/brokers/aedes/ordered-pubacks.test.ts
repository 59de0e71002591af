import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

interface Persistence {
  outgoingEnqueueCombi(subscriptions: unknown, packet: { readonly payload: Buffer }): Promise<void>
}

/** Starts a broker that stores a message when the test calls its function in `pending`. */
async function start(acknowledgeStored: boolean) {
  const gate = new Gate().use('t/#', limit({ name: 'two', rate: '2/hour', per: 'client', exceeded: 'drop' }))
  running = await startBroker({ gate, limiter: { acknowledgeStored } })
  const { persistence } = running.broker as unknown as { readonly persistence: Persistence }
  const enqueue = persistence.outgoingEnqueueCombi.bind(persistence)
  const pending = new Map<string, () => void>()
  persistence.outgoingEnqueueCombi = async (subscriptions, packet) => {
    await new Promise<void>(resolve => pending.set(packet.payload.toString(), resolve))
    await enqueue(subscriptions, packet)
  }
  const raw = await running.connectRaw({ clientId: 'r' })
  const acknowledged = (): (number | undefined)[] =>
    raw.packets.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId)
  return { test: running, raw, pending, acknowledged }
}

describe('a publish of QoS 1', () => {
  it('is acknowledged by aedes before it is stored', async () => {
    const { raw, pending, acknowledged } = await start(false)
    raw.send(raw.publish('other', { qos: 1, messageId: 1, payload: 'a' }))
    await eventually(() => expect(pending.size).toBe(1))
    await raw.roundTrip()
    expect(acknowledged()).toEqual([1])
    pending.get('a')?.()
  })

  it('is acknowledged once it is stored with acknowledgeStored, in the order of arrival', async () => {
    const { test, raw, pending, acknowledged } = await start(true)
    const seen = await subscribeAll(await test.connect(), '#')
    raw.send(
      raw.publish('t/x', { qos: 1, messageId: 1, payload: 'a' }),
      raw.publish('t/x', { qos: 1, messageId: 2, payload: 'b' }),
      raw.publish('t/x', { qos: 1, messageId: 3, payload: 'refused' }),
    )
    await eventually(() => expect([...pending.keys()]).toEqual(['a', 'b']))
    expect(acknowledged()).toEqual([])
    pending.get('b')?.()
    await test.connectRaw({ clientId: 'later' })
    expect(acknowledged()).toEqual([])
    pending.get('a')?.()
    await raw.until('puback', 3)
    expect(acknowledged()).toEqual([1, 2, 3])
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['a', 'b']))
  })

  it('is not lost with acknowledgeStored when later messages are stored before it', async () => {
    const { test, raw, pending } = await start(true)
    const publisher = await test.connect()
    const seen = await subscribeAll(await test.connect(), '#', 1)
    raw.send(raw.publish('other', { qos: 1, messageId: 1, payload: 'first' }))
    await eventually(() => expect(pending.size).toBe(1))
    await publisher.publishAsync('other', 'second', { qos: 0 })
    publisher.publish('other', 'third', { qos: 1 })
    await eventually(() => expect(pending.size).toBe(2))
    pending.get('third')?.()
    pending.get('first')?.()
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['first', 'second', 'third']))
  })
})
