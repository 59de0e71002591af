import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { AckSender, MAX_BATCHED_ACKS } from '../../../brokers/mqtt/ack-sender.ts'
import { AckWindow, MAX_ACK_WINDOW } from '../../../brokers/mqtt/ack-window.ts'
import type { ReceivingClient } from '../../../brokers/mqtt/client-types.ts'
import { KeepAlivePinger } from '../../../brokers/mqtt/keep-alive.ts'
import { type ContinueReading, ReceivedMessage } from '../../../brokers/mqtt/message.ts'
import { Gate } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** What acknowledges for a client, with a real stream, and what was sent apart. */
function openAcks() {
  const writes: number[] = []
  const sent: object[] = []
  const stream = new Writable({
    writev: (chunks, done) => {
      writes.push(chunks.length)
      done()
    },
    write: (_chunk, _encoding, done) => {
      writes.push(1)
      done()
    },
  })
  const client = { connected: true, options: {}, stream, _sendPacket: (packet: object) => sent.push(packet) }
  const receiving = client as unknown as ReceivingClient
  const acks = new AckSender(receiving, new KeepAlivePinger(receiving, new FakeClock()))
  const arrive = (messageId: number, goOn: ContinueReading, qos: 0 | 1 | 2 = 1): ReceivedMessage => {
    const packet = { topic: 'a', payload: Buffer.alloc(1), qos, messageId }
    return new ReceivedMessage(new Gate(), {}, 'a', packet, acks.connectionId, goOn, 'due')
  }
  return { acks, client, stream, writes, sent, arrive }
}

describe('acknowledgements', () => {
  it('of messages handled in one go are written together, a bounded number of them, and none waits for longer', async () => {
    const { acks, arrive, stream, writes } = openAcks()
    for (let id = 1; id <= 2 * MAX_BATCHED_ACKS + 3; id++)
      acks.finish(
        arrive(id, () => stream.write('ack')),
        0,
      )
    expect(writes).toEqual([MAX_BATCHED_ACKS, MAX_BATCHED_ACKS])
    await Promise.resolve()
    expect(writes).toEqual([MAX_BATCHED_ACKS, MAX_BATCHED_ACKS, 3])
    acks.finish(
      arrive(99, () => stream.write('ack')),
      0,
    )
    await Promise.resolve()
    expect(writes).toEqual([MAX_BATCHED_ACKS, MAX_BATCHED_ACKS, 3, 1])
  })

  it('are sent once, with the reason of a refusal', () => {
    const { acks, arrive, sent } = openAcks()
    const given: unknown[] = []
    const message = arrive(7, answer => given.push(answer))
    acks.finish(message, 0x97)
    acks.finish(message, 0)
    expect(given).toEqual([expect.any(Error)])
    expect(sent).toEqual([{ cmd: 'puback', messageId: 7, reasonCode: 0x97 }])
  })

  it('are sent in the order the messages came if the client brings the next one at once', () => {
    const { acks, arrive, sent } = openAcks()
    const next = arrive(8, () => {})
    acks.finish(
      arrive(7, () => acks.finish(next, 0x97)),
      0x97,
    )
    expect(sent.map(packet => Object.values(packet))).toEqual([
      ['puback', 7, 0x97],
      ['puback', 8, 0x97],
    ])
  })

  it('are not sent apart where there is no connection', () => {
    const { acks, arrive, client, sent } = openAcks()
    const message = arrive(7, () => {})
    acks.continueBeforeAck(message)
    client.connected = false
    acks.finish(message, 0)
    expect(sent).toEqual([])
  })
})

describe('an ack window', () => {
  it('acknowledges messages in the order they came, whichever is finished first', () => {
    const { acks, arrive, sent } = openAcks()
    const ackWindow = new AckWindow(acks, () => true)
    const messages = [1, 2, 3].map(id => arrive(id, () => {}))
    for (const message of messages) {
      ackWindow.add(message)
      ackWindow.continueIfAllowed()
    }
    ackWindow.finish(messages[1]!, 0x97)
    ackWindow.finish(messages[2]!, 0)
    expect(sent).toEqual([])
    ackWindow.finish(messages[0]!, 0)
    expect(sent.map(packet => Object.values(packet))).toEqual([
      ['puback', 1, 0],
      ['puback', 2, 0x97],
      ['puback', 3, 0],
    ])
    expect(ackWindow.isEmpty).toBe(true)
  })

  it('has a maximum, and makes the client continue when a message is finished', () => {
    const { acks, arrive } = openAcks()
    const ackWindow = new AckWindow(acks, () => true)
    let continued = 0
    const messages: ReceivedMessage[] = []
    // A client reads the next message only when it may continue.
    while (continued === messages.length) {
      const message = arrive(messages.length + 1, () => continued++, 0)
      messages.push(message)
      ackWindow.add(message)
      ackWindow.continueIfAllowed()
    }
    expect(messages).toHaveLength(MAX_ACK_WINDOW)
    ackWindow.finish(messages[0]!, 0)
    expect(continued).toBe(MAX_ACK_WINDOW)
  })

  it('does not continue after QoS 2 if the client cannot be made to stop counting the message', () => {
    const { acks, arrive, client } = openAcks()
    const ackWindow = new AckWindow(acks, () => true)
    let continued = 0
    Object.assign(client, { _trackIncomingQoS2Publish: () => true, incomingStore: { del: () => {} } })
    const message = arrive(1, () => continued++, 2)
    ackWindow.add(message)
    ackWindow.continueIfAllowed()
    expect(continued).toBe(0)
    ackWindow.finish(message, 0)
    expect(continued).toBe(1)
    Object.assign(client, { _releaseIncomingQoS2Publish: () => {} })
    const next = arrive(2, () => continued++, 2)
    ackWindow.add(next)
    ackWindow.continueIfAllowed()
    expect(continued).toBe(2)
  })

  it('does not continue if the last message does not wait for a store', () => {
    const { acks, arrive } = openAcks()
    const ackWindow = new AckWindow(acks, () => false)
    let continued = 0
    const message = arrive(1, () => continued++)
    ackWindow.add(message)
    ackWindow.continueIfAllowed()
    expect(continued).toBe(0)
    ackWindow.finish(message, 0)
    expect(continued).toBe(1)
  })
})
