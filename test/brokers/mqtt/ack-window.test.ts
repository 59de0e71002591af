import { describe, expect, it } from 'vitest'
import { AckWindow, MAX_ACK_WINDOW } from '../../../brokers/mqtt/ack-window.ts'
import type { ReceivedMessage } from '../../../brokers/mqtt/message.ts'
import { openAckSender } from './open-ack-sender.ts'

describe('an ack window', () => {
  it('acknowledges messages in the order they came, whichever is finished first', () => {
    const { ackSender, arrive, sent } = openAckSender()
    const ackWindow = new AckWindow(ackSender, () => true)
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
    const { ackSender, arrive } = openAckSender()
    const ackWindow = new AckWindow(ackSender, () => true)
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
    const { ackSender, arrive, client } = openAckSender()
    const ackWindow = new AckWindow(ackSender, () => true)
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
    const { ackSender, arrive } = openAckSender()
    const ackWindow = new AckWindow(ackSender, () => false)
    let continued = 0
    const message = arrive(1, () => continued++)
    ackWindow.add(message)
    ackWindow.continueIfAllowed()
    expect(continued).toBe(0)
    ackWindow.finish(message, 0)
    expect(continued).toBe(1)
  })
})
