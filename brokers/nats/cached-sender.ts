import type { Message, Sender } from '../../src/core/message.ts'
import type { Guard, SenderQueue } from '../../src/guard/guard.ts'

/** A sender, and where its messages wait in their order. */
export class Place {
  readonly sender: Sender
  #senderQueue: SenderQueue | undefined = undefined

  constructor(sender: Sender) {
    this.sender = sender
  }

  /** Messages of this sender that wait in its order. */
  get held(): number {
    return this.#senderQueue === undefined ? 0 : this.#senderQueue.held
  }

  /** Messages of this sender that wait, in its order or in queues of rules. */
  get pending(): number {
    return this.#senderQueue === undefined ? 0 : this.#senderQueue.pending
  }

  /** Whether an older message of the same topic has to go first, which a rule holds. */
  mustFollow(message: Message): boolean {
    return this.#senderQueue?.mustFollow(message) === true
  }

  /** Made when first needed: most senders are never held. */
  senderQueueOf(guard: Guard): SenderQueue {
    this.#senderQueue ??= guard.senderQueue()
    return this.#senderQueue
  }
}
