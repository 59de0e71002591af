import { BOUNDS } from '../bounds.ts'
import { createSender, type Sender } from '../index.ts'

/** Longer identities are not remembered: each such message has a sender of its own, with the same counters. */
const MOST_CHARS = 2_048

/**
 * One sender object for equal identities, so that limits keep their place on it. Bounded by `BOUNDS.internedSenders`,
 * in two halves: a full young half becomes the old one, and who is seen again comes back.
 */
export class KnownSenders {
  #young = new Map<string, Sender>()
  #old = new Map<string, Sender>()

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** The sender of this identity. */
  find(sender: Sender): Sender {
    const { client, user, device, apiKey, ip, roles, tier } = sender
    const identity = JSON.stringify([client, user, device, apiKey, ip, roles, tier])
    if (identity.length > MOST_CHARS) return createSender(sender)
    const known = this.#young.get(identity)
    if (known !== undefined) return known
    const found = this.#old.get(identity) ?? createSender(sender)
    if (this.#young.size >= BOUNDS.internedSenders / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(identity, found)
    return found
  }
}
