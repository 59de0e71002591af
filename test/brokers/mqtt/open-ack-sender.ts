import { Writable } from 'node:stream'
import { AckSender } from '../../../brokers/mqtt/ack-sender.ts'
import type { ReceivingClient } from '../../../brokers/mqtt/client-types.ts'
import { KeepAlivePinger } from '../../../brokers/mqtt/keep-alive.ts'
import { type ContinueReading, ReceivedMessage } from '../../../brokers/mqtt/message.ts'
import { Gate } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** Creates an AckSender with a real stream. `sent` are the packets that it has sent separately. */
export function openAckSender() {
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
  const ackSender = new AckSender(receiving, new KeepAlivePinger(receiving, new FakeClock()))
  const arrive = (
    messageId: number,
    continueReading: ContinueReading,
    qos: 0 | 1 | 2 = 1,
  ): ReceivedMessage => {
    const packet = { topic: 'a', payload: Buffer.alloc(1), qos, messageId }
    return new ReceivedMessage(new Gate(), {}, 'a', packet, ackSender.connectionId, continueReading, 'due')
  }
  return { ackSender, client, stream, writes, sent, arrive }
}
