import type { Guard, Lane } from '../../src/guard.ts'
import type { Message, Sender } from '../../src/message.ts'

/** A sender, and where its messages wait in their order. */
export class Place {
  readonly sender: Sender
  #lane: Lane | undefined = undefined

  constructor(sender: Sender) {
    this.sender = sender
  }

  /** Messages of this sender that wait in its order. */
  get held(): number {
    return this.#lane === undefined ? 0 : this.#lane.held
  }

  /** Messages of this sender that wait, in its order or in queues of rules. */
  get pending(): number {
    return this.#lane === undefined ? 0 : this.#lane.pending
  }

  /** Whether an older message of the same topic has to go first, which a rule holds. */
  mustFollow(message: Message): boolean {
    return this.#lane?.mustFollow(message) === true
  }

  /** Made when first needed: most senders are never held. */
  laneOf(guard: Guard): Lane {
    this.#lane ??= guard.lane()
    return this.#lane
  }
}
