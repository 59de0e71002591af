import { PASSED } from '../core/decision.ts'
import type { Message, Operation, Sender } from '../core/message.ts'
import type { SenderQueue } from '../guard/guard.ts'

/** A packet that keeps its place behind held messages; no rule applies to it. */
class OrderedPacket implements Message {
  readonly sender: Sender
  readonly size: number

  constructor(sender: Sender, size: number) {
    this.sender = sender
    this.size = size
  }

  get topic(): string {
    return ''
  }

  get on(): Operation {
    return 'subscribe'
  }

  /** QoS 0. Why: when a client disconnects, the queue still sends its held messages of QoS 0, in order. */
  get qos(): 0 {
    return 0
  }
}

/** Calls `send` once the messages that a queue holds have passed. Until then, `sizeBytes` counts as held. */
export function sendInOrder(queue: SenderQueue, sender: Sender, sizeBytes: number, send: () => void): void {
  queue.admit(new OrderedPacket(sender, sizeBytes), send, () => PASSED)
}
