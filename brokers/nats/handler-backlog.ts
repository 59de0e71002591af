import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Delivery } from './delivery.ts'

/**
 * Messages that may pass and wait for a handler to be done, first come, first served: at most `BOUNDS.waitingForHandler` of a
 * subscription, and `BOUNDS.waitingForHandlerBytes` of payload.
 */
export class HandlerBacklog {
  #waiting: Delivery[] = []
  #next = 0
  #bytes = 0
  #apart = 0

  /** Messages that wait, also those that wait for a handler of their key. */
  get count(): number {
    return this.#waiting.length - this.#next + this.#apart
  }

  /** Takes a message in; false where there is no room. */
  add(delivery: Delivery): boolean {
    if (!this.#hasRoom(delivery.size)) return false
    this.#waiting.push(delivery)
    this.#bytes += delivery.size
    return true
  }

  /** Takes in a message that waits for a handler of its key to end, elsewhere; false where there is no room. */
  addApart({ size }: Delivery): boolean {
    if (!this.#hasRoom(size)) return false
    this.#apart++
    this.#bytes += size
    return true
  }

  /** A message waits elsewhere no more. */
  removeApart({ size }: Delivery): void {
    this.#apart--
    this.#bytes -= size
  }

  #hasRoom(size: number): boolean {
    return this.count < MAX_SIZES.waitingForHandler && this.#bytes + size <= MAX_SIZES.waitingForHandlerBytes
  }

  /** The one whose turn it is; undefined where none waits. Those that were given up meanwhile have lost theirs. */
  take(): Delivery | undefined {
    while (this.#next < this.#waiting.length) {
      const delivery = this.#waiting[this.#next++]!
      this.#bytes -= delivery.size
      if (this.#next * 2 > this.#waiting.length) this.#compact()
      if (!delivery.settled) return delivery
    }
    return undefined
  }

  /** Half of the list has had its turn: moving the rest costs each of them no more than once. */
  #compact(): void {
    this.#waiting = this.#waiting.slice(this.#next)
    this.#next = 0
  }
}
