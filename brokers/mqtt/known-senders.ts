import { BOUNDS } from '../../src/bounds.ts'
import { createSender } from '../../src/index.ts'
import type { Sender } from '../../src/message.ts'

/**
 * One sender object for equal keys, so that limits keep their place on it: a consumer has no connection for each
 * sender. Bounded by `BOUNDS.internedSenders`, in two halves: a full young half becomes the old one, and who is seen again
 * comes back. Whoever has a longer key than `BOUNDS.keyPartChars` is not remembered: same counters, a slower way.
 */
export class KnownSenders {
  #young = new Map<string, Sender>()
  #old = new Map<string, Sender>()

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** The sender of a key, made of `sender` when it is not known. */
  find(key: string, sender: Sender): Sender {
    const known = this.#young.get(key)
    if (known !== undefined) return known
    if (key.length > BOUNDS.keyPartChars) return createSender(sender)
    const found = this.#old.get(key) ?? createSender(sender)
    if (this.#young.size >= BOUNDS.internedSenders / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, found)
    return found
  }

  /** The sender of what an application knows of it. */
  findIdentity(sender: Sender): Sender {
    const { client, user, device, apiKey, ip, roles, tier } = sender
    return this.find(JSON.stringify([client, user, device, apiKey, ip, roles, tier]), sender)
  }
}
