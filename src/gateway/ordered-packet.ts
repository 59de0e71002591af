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

  /** As for messages that pass in their turn after their client has gone. */
  get qos(): 0 {
    return 0
  }
}

/** Calls `send` behind the messages that a queue holds. `sizeBytes` counts as held meanwhile. */
export function sendInOrder(queue: SenderQueue, sender: Sender, sizeBytes: number, send: () => void): void {
  queue.admit(new OrderedPacket(sender, sizeBytes), send, () => PASSED)
}
