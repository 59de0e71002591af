import { cacheKeyOfUnknownSender, keyOfSender, SenderCache } from '../../src/broker-support/sender-cache.ts'
import { createSender } from '../../src/chain/senders/sender-state.ts'
import type { Sender } from '../../src/core/message.ts'
import type { MqttJsPublishPacket } from './client-types.ts'
import type { Identify } from './consumer-options.ts'

const NO_SENDER: Sender = {}

/** Senders of received messages: one for each identity, or for each topic without `identify`. */
export class MqttMessageSenderCache {
  readonly #cache = new SenderCache<Sender>()
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
  senderOf(topic: string, packet: MqttJsPublishPacket): Sender {
    if (this.#identify === undefined) return this.#find(topic, NO_SENDER)
    try {
      const sender = this.#identify(topic, packet) ?? NO_SENDER
      return this.#find(keyOfSender(sender), sender)
    } catch (err) {
      this.#onError(err)
      return this.#find(cacheKeyOfUnknownSender(topic), NO_SENDER)
    }
  }

  #find(key: string, sender: Sender): Sender {
    return this.#cache.get(key) ?? this.#cache.set(key, createSender(sender))
  }
}
