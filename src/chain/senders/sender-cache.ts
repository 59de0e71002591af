import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Sender } from '../../core/message.ts'
import { createSender } from './sender-state.ts'

/**
 * One sender object for equal identities, so that limits keep their place on it: for whoever has no connection for each
 * sender. Bounded by `BOUNDS.internedSenders` and by characters, in two halves: a full young half becomes the old one, and who is seen
 * again comes back. Longer ones than `BOUNDS.internedSenderChars` are not remembered: same counters, a slower way.
 */
export class KnownSenders {
  #young = new Map<string, Sender>()
  #old = new Map<string, Sender>()
  #youngChars = 0

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** The sender of this identity. */
  find(sender: Sender): Sender {
    const { client, user, device, apiKey, ip, roles, tier } = sender
    return this.findBy(JSON.stringify([client, user, device, apiKey, ip, roles, tier]), sender)
  }

  /** The sender of a key of the caller's own, made of `sender` where it is not known. */
  findBy(key: string, sender: Sender): Sender {
    const known = this.#young.get(key)
    if (known !== undefined) return known
    if (key.length > MAX_SIZES.internedSenderChars) return createSender(sender)
    const found = this.#old.get(key) ?? createSender(sender)
    this.#youngChars += key.length
    const isFull =
      this.#young.size >= MAX_SIZES.internedSenders / 2 ||
      this.#youngChars > MAX_SIZES.internedSenderCharsTotal / 2
    if (isFull) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngChars = key.length
    }
    this.#young.set(key, found)
    return found
  }
}
