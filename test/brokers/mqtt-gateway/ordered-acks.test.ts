import { describe, expect, it } from 'vitest'
import { OrderedAcks } from '../../../brokers/mqtt-gateway/ordered-acks.ts'
import { Gate, limit } from '../../../src/index.ts'
import { random } from '../../support/random.ts'
import { startGateway } from './harness.ts'
import { publishPacket } from './raw-peer.ts'

/** Lets microtasks run. */
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('acknowledgements of the gateway', () => {
  it('keep the order of the messages, whenever the broker acknowledges its own', async () => {
    for (let seed = 0; seed < 50; seed++) {
      const draw = random(seed)
      const orderedAcks = new OrderedAcks(() => {})
      const forwarded: number[] = []
      const acked: number[] = []
      const sent: { id: number; before: readonly number[] }[] = []
      for (let id = 1; id <= 60; id++) {
        if (draw.chance(0.5)) {
          orderedAcks.expectAck(id)
          forwarded.push(id)
        } else {
          const before = forwarded.filter(each => !acked.includes(each))
          orderedAcks.send(() => sent.push({ id, before: before.filter(each => !acked.includes(each)) }))
        }
        while (draw.chance(0.4) && acked.length < forwarded.length) {
          const ack = forwarded[acked.length]!
          orderedAcks.onAck(ack)
          acked.push(ack)
          await turn()
        }
      }
      for (const id of forwarded.slice(acked.length)) {
        orderedAcks.onAck(id)
        acked.push(id)
        await turn()
      }
      expect(sent.map(({ id }) => id)).toEqual(sent.map(({ id }) => id).toSorted((a, b) => a - b))
      expect(sent.filter(({ before }) => before.length > 0)).toEqual([])
      expect(sent.length + forwarded.length).toBe(60)
    }
  })

  it('stop the reading of a client when a thousand wait', async () => {
    const states: boolean[] = []
    const orderedAcks = new OrderedAcks(isFull => states.push(isFull))
    orderedAcks.expectAck(1)
    let sent = 0
    for (let count = 0; count < 1_000; count++) orderedAcks.send(() => sent++)
    expect(states).toEqual([true])
    orderedAcks.onAck(1)
    await turn()
    expect([states, sent]).toEqual([[true, false], 1_000])
  })

  it('no longer stop the reading of a client after they were discarded', () => {
    const states: boolean[] = []
    const orderedAcks = new OrderedAcks(isFull => states.push(isFull))
    orderedAcks.expectAck(1)
    for (let count = 0; count < 1_000; count++) orderedAcks.send(() => {})
    orderedAcks.clear()
    expect(states).toEqual([true, false])
  })

  it.each([
    [1, 'puback'],
    [2, 'pubrec'],
  ] as const)('at QoS %i come in the order of the messages, with those of the broker', async (qos, cmd) => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', rate: '3/min burst 3', exceeded: 'reject' }))
    await using scene = await startGateway({ gate })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion: 5 })
    client.send(...[1, 2, 3, 4, 5].map(messageId => publishPacket('a', { qos, messageId })))
    const acks: unknown[] = []
    for (let count = 0; count < 5; count++) {
      const { messageId, reasonCode = 0 } = (await client.received(cmd, count + 1)) as {
        messageId?: number
        reasonCode?: number
      }
      acks.push([messageId, reasonCode >= 0x80])
    }
    expect(acks).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, true],
      [5, true],
    ])
  })
})
