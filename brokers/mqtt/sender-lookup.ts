import type { Sender } from '../../src/core/message.ts'
import { KnownSenders } from '../../src/index.ts'
import type { PublishPacket } from './client-types.ts'
import type { Identify } from './options.ts'

const NO_SENDER: Sender = {}

/** Senders of received messages: one for each identity, or for each topic without `identify`. */
export class SenderLookup {
  readonly #cache = new KnownSenders()
  readonly #identify: Identify | undefined
  readonly #onError: (err: unknown) => void

  /** `onError` receives errors of `identify`. */
  constructor(identify: Identify | undefined, onError: (err: unknown) => void) {
    this.#identify = identify
    this.#onError = onError
  }

  get size(): number {
    return this.#cache.size
  }

  /** Returns the sender of a message. Never throws. */
  senderOf(topic: string, packet: PublishPacket): Sender {
    if (this.#identify === undefined) return this.#cache.findBy(topic, NO_SENDER)
    try {
      const sender = this.#identify(topic, packet) ?? NO_SENDER
      const key = keyOf(sender)
      return key === undefined ? this.#cache.find(sender) : this.#cache.findBy(key, sender)
    } catch (err) {
      this.#onError(err)
      // No other key starts like this, so the sender cannot be taken for a known one.
      return this.#cache.findBy(`\0${topic}`, NO_SENDER)
    }
  }
}

/**
 * Returns a unique key for a sender whose fields are strings, each with its length before it. Returns undefined for
 * others. Takes about half the time of JSON (220 ns instead of 400).
 */
function keyOf({ client, user, device, apiKey, ip, roles, tier }: Sender): string | undefined {
  if (roles !== undefined) return undefined
  let key = ''
  for (const text of [client, user, device, apiKey, ip, tier]) {
    if (text === undefined) key += '-'
    else if (typeof text === 'string') key += `${text.length}:${text}`
    else return undefined
  }
  return key
}
