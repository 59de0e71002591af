import { describe, expect, it } from 'vitest'
import { MAX_BATCHED_ACKS } from '../../../brokers/mqtt/ack-sender.ts'
import { openAckSender } from './open-ack-sender.ts'

describe('acknowledgements', () => {
  it('of messages handled in one go are written together, a bounded number of them, and none waits for longer', async () => {
    const { ackSender, arrive, stream, writes } = openAckSender()
    for (let id = 1; id <= 2 * MAX_BATCHED_ACKS + 3; id++)
      ackSender.finish(
        arrive(id, () => stream.write('ack')),
        0,
      )
    expect(writes).toEqual([MAX_BATCHED_ACKS, MAX_BATCHED_ACKS])
    await Promise.resolve()
    expect(writes).toEqual([MAX_BATCHED_ACKS, MAX_BATCHED_ACKS, 3])
    ackSender.finish(
      arrive(99, () => stream.write('ack')),
      0,
    )
    await Promise.resolve()
    expect(writes).toEqual([MAX_BATCHED_ACKS, MAX_BATCHED_ACKS, 3, 1])
  })

  it('are sent once, with the reason of a refusal', () => {
    const { ackSender, arrive, sent } = openAckSender()
    const given: unknown[] = []
    const message = arrive(7, answer => given.push(answer))
    ackSender.finish(message, 0x97)
    ackSender.finish(message, 0)
    expect(given).toEqual([expect.any(Error)])
    expect(sent).toEqual([{ cmd: 'puback', messageId: 7, reasonCode: 0x97 }])
  })

  it('are sent in the order the messages came if the client brings the next one at once', () => {
    const { ackSender, arrive, sent } = openAckSender()
    const next = arrive(8, () => {})
    ackSender.finish(
      arrive(7, () => ackSender.finish(next, 0x97)),
      0x97,
    )
    expect(sent.map(packet => Object.values(packet))).toEqual([
      ['puback', 7, 0x97],
      ['puback', 8, 0x97],
    ])
  })

  it('are not sent apart where there is no connection', () => {
    const { ackSender, arrive, client, sent } = openAckSender()
    const message = arrive(7, () => {})
    ackSender.continueBeforeAck(message)
    client.connected = false
    ackSender.finish(message, 0)
    expect(sent).toEqual([])
  })
})
