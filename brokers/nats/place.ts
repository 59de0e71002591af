import type { Guard, Lane } from '../../src/guard.ts'
import type { Sender } from '../../src/message.ts'

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

  /** Made when first needed: most senders are never held. */
  laneOf(guard: Guard): Lane {
    this.#lane ??= guard.lane()
    return this.#lane
  }
}
