import { createSender } from '../chain/senders/sender-state.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'

/**
 * Cache of sender objects by identity, for adapters without a connection per sender. Limits cache their slots
 * on these objects. Bounded by `MAX_SIZES.internedSenders` and by characters, in two halves: a full young
 * half becomes the old one, and senders seen again return to the young one. Identities longer than
 * `MAX_SIZES.internedSenderChars` are not cached: same counters, slower lookup.
 */
export class KnownSenders {
  #young = new Map<string, Sender>()
  #old = new Map<string, Sender>()
  #youngChars = 0

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** Returns the sender object of an identity. */
  find(sender: Sender): Sender {
    const { client, user, device, apiKey, ip, roles, tier } = sender
    return this.findBy(JSON.stringify([client, user, device, apiKey, ip, roles, tier]), sender)
  }

  /** Returns the sender object of a key, creating it from `sender` if necessary. */
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
