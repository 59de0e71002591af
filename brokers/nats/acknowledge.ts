import type { JetStreamMessage } from './client.ts'
import { type Inside, insideOf } from './inside.ts'

const [BEFORE, AFTER] = ['PUB ', ' 4\r\n+ACK\r\n'].map(text => new TextEncoder().encode(text)) as [
  Uint8Array,
  Uint8Array,
]

/** Whether a message was answered already, as both generations of the client remember it. */
interface Answerable {
  didAck?: unknown
}

/**
 * Acknowledges a message, once, by the very bytes its reply subject came in. The client's own `ack` makes text of them, and
 * bytes again of the text: 0.5 µs, a sixth of all it does for a message. Where the client is not as it is known, or not
 * connected, its own `ack` is asked.
 */
export function acknowledge(message: JetStreamMessage): void {
  const answerable = message as Answerable
  const { _msg: head, publisher } = insideOf(message) as Inside
  const reply = head?.reply
  if (
    publisher?.connected !== true ||
    typeof publisher.sendCommand !== 'function' ||
    typeof publisher.outMsgs !== 'number' ||
    typeof publisher.outBytes !== 'number' ||
    !(reply instanceof Uint8Array) ||
    typeof answerable.didAck !== 'boolean'
  ) {
    message.ack()
    return
  }
  if (answerable.didAck) return
  answerable.didAck = true
  publisher.outMsgs++
  publisher.outBytes += 4
  publisher.sendCommand(BEFORE, reply, AFTER)
}
