import type { Sender } from '../../src/core/message.ts'
import { KnownSenders } from '../../src/index.ts'
import type { PublishPacket } from './client.ts'
import type { Identify } from './options.ts'

const NOBODY: Sender = {}

/** Who sent what a consumer receives: one sender for each identity, or for each topic where nobody knows more. */
export class Senders {
  readonly #known = new KnownSenders()
  readonly #identify: Identify | undefined
  readonly #failed: (err: unknown) => void

  /** `failed` hears of what `identify` throws. */
  constructor(identify: Identify | undefined, failed: (err: unknown) => void) {
    this.#identify = identify
    this.#failed = failed
  }

  get size(): number {
    return this.#known.size
  }

  /** Never throws. */
  of(topic: string, packet: PublishPacket): Sender {
    if (this.#identify === undefined) return this.#known.findBy(topic, NOBODY)
    try {
      const sender = this.#identify(topic, packet) ?? NOBODY
      const key = keyOf(sender)
      return key === undefined ? this.#known.find(sender) : this.#known.findBy(key, sender)
    } catch (err) {
      this.#failed(err)
      // No topic and no key begins so: none can pass for a known sender.
      return this.#known.findBy(`\0${topic}`, NOBODY)
    }
  }
}

/**
 * A key for an identity of plain texts, each with its length before it, so that no two identities share one; undefined of
 * others. A sender is found by it in little more than half the time of JSON (220 ns to 400).
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
