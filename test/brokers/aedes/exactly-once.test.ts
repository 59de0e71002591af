import type mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import type { ExceededWord } from '../../../src/outcomes/exceeded.ts'
import {
  eventually,
  type RawClient,
  type Setup,
  startBroker,
  subscribeAll,
  type TestBroker,
} from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})
async function start(setup: Setup): Promise<TestBroker> {
  running = await startBroker(setup)
  return running
}

function fivePass(exceeded: ExceededWord): Gate {
  return new Gate().use('t/#', limit({ name: 'five', rate: '5/hour', per: 'client', exceeded }))
}

function idsOf({ packets }: RawClient, cmd: string): (number | undefined)[] {
  return packets.filter(packet => packet.cmd === cmd).map(({ messageId }) => messageId)
}

const release = (messageId: number): mqttPacket.IPubrelPacket => ({ cmd: 'pubrel', messageId })

describe('a QoS 2 publish marked as sent again', () => {
  it.each(['drop', 'reject', 'throttle', 'queue', 'latest', 'disconnect'] as const)(
    'is charged if a PUBREL behind it makes it a new message: %s',
    async exceeded => {
      const test = await start({ gate: fivePass(exceeded) })
      const seen = await subscribeAll(await test.connect(), 't/#', 2)
      const raw = await test.connectRaw({ clientId: 'raw' })
      const options = { qos: 2, messageId: 7 } as const
      raw.send(raw.publish('t/x', { ...options, payload: 'first' }))
      await raw.until('pubrec')
      let allowed = 0
      test.gate.on('decision', (decision, { on }) => {
        if (on === 'publish' && decision.allowed) allowed++
      })
      for (let i = 0; i < 40 && !raw.closed; i++) {
        raw.send(raw.publish('t/x', { ...options, dup: true, payload: `again ${i}` }), release(7))
        await new Promise(resolve => setTimeout(resolve, 2))
      }
      await eventually(() => expect(seen.length).toBe(5))
      expect(seen.map(({ text }) => text)).toEqual(['first', 'again 0', 'again 1', 'again 2', 'again 3'])
      expect(allowed).toBe(4)
    },
  )

  it('is not charged while aedes treats it as a duplicate', async () => {
    const test = await start({ gate: fivePass('drop') })
    const seen = await subscribeAll(await test.connect(), 't/#', 2)
    const raw = await test.connectRaw({ clientId: 'raw' })
    raw.send(raw.publish('t/x', { qos: 2, messageId: 1 }))
    await raw.until('pubrec')
    for (let i = 0; i < 9; i++) raw.send(raw.publish('t/x', { qos: 2, messageId: 1, dup: true }))
    await raw.until('pubrec', 10)
    raw.send(release(1), ...[2, 3, 4, 5].map(messageId => raw.publish('t/x', { qos: 2, messageId })))
    await raw.until('pubrec', 14)
    await eventually(() => expect(seen).toHaveLength(5))
    expect(test.limits.stats().dropped).toBe(0)
  })
})

describe('a disconnect at QoS 2', () => {
  it.each(['in one segment', 'one by one'])(
    'comes after the acknowledgement of all that passed, sent %s',
    async how => {
      const test = await start({ gate: fivePass('disconnect') })
      const seen = await subscribeAll(await test.connect(), 't/#', 2)
      const raw = await test.connectRaw({ clientId: 'raw' })
      const packets = Array.from({ length: 20 }, (_, i) =>
        raw.publish('t/x', { qos: 2, messageId: i + 1, payload: String(i + 1) }),
      )
      if (how === 'in one segment') raw.send(...packets)
      else for (const packet of packets) raw.send(packet)
      await eventually(() => expect(raw.closed).toBe(true))
      await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['1', '2', '3', '4', '5']))
      expect(idsOf(raw, 'pubrec')).toEqual([1, 2, 3, 4, 5])
    },
  )

  it('after too many refusals follows their acknowledgements', async () => {
    const test = await start({ gate: fivePass('drop'), limiter: { disconnectAfter: 3 } })
    const raw = await test.connectRaw({ clientId: 'raw' })
    raw.send(...Array.from({ length: 20 }, (_, i) => raw.publish('t/x', { qos: 2, messageId: i + 1 })))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(idsOf(raw, 'pubrec').toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7])
  })

  it('does not wait for a subscriber that has stopped reading', async () => {
    const test = await start({ gate: fivePass('disconnect') })
    const frozen = await test.connectRaw({ clientId: 'frozen' })
    frozen.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 0 }] })
    await frozen.until('suback')
    frozen.socket.pause()
    const payload = Buffer.alloc(2_000_000)
    const other = await test.connect({ clientId: 'other' })
    for (let i = 0; i < 8; i++) other.publish('u/x', payload)
    const raw = await test.connectRaw({ clientId: 'raw' })
    raw.send(...Array.from({ length: 9 }, (_, i) => raw.publish('t/x', { qos: 2, messageId: i + 1 })))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(test.limits.stats().disconnected).toBe(1)
  })
})
