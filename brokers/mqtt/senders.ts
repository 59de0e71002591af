import { KnownSenders } from '../../src/index.ts'
import type { Sender } from '../../src/message.ts'
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
      return this.#known.find(this.#identify(topic, packet) ?? NOBODY)
    } catch (err) {
      this.#failed(err)
      return this.#known.findBy(topic, NOBODY)
    }
  }
}
