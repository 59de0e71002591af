import type { Message, Sender } from '../../src/core/message.ts'
import type { Guard, SenderQueue } from '../../src/guard/guard.ts'

/** Sender with its queue of messages. */
export class SenderWithQueue {
  readonly sender: Sender
  #senderQueue: SenderQueue | undefined = undefined

  constructor(sender: Sender) {
    this.sender = sender
  }

  /** Number of messages that wait in this sender's queue. */
  get held(): number {
    return this.#senderQueue === undefined ? 0 : this.#senderQueue.held
  }

  /** Number of messages that wait in this sender's queue or in rule queues. */
  get pending(): number {
    return this.#senderQueue === undefined ? 0 : this.#senderQueue.pending
  }

  /** Returns true if a rule queue holds an older message of the topic, which must go first. */
  mustFollow(message: Message): boolean {
    return this.#senderQueue?.mustFollow(message) === true
  }

  /** Returns the sender's queue. Created on first use, because most senders never have held messages. */
  senderQueueOf(guard: Guard): SenderQueue {
    this.#senderQueue ??= guard.senderQueue()
    return this.#senderQueue
  }
}
