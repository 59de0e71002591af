import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Delivery } from './message.ts'

/**
 * Passed messages that wait for a free handler, in order of arrival. At most `MAX_SIZES.waitingForHandler` messages and
 * `MAX_SIZES.waitingForHandlerBytes` payload bytes per subscription.
 */
export class HandlerBacklog {
  #waiting: Delivery[] = []
  #next = 0
  #bytes = 0
  #keyed = 0

  /** Number of messages that wait, including those that wait for a handler of their key. */
  get count(): number {
    return this.#waiting.length - this.#next + this.#keyed
  }

  /** Adds a message. Returns false if there is no room. */
  add(delivery: Delivery): boolean {
    if (!this.#hasRoom(delivery.size)) return false
    this.#waiting.push(delivery)
    this.#bytes += delivery.size
    return true
  }

  /** Counts a message that waits elsewhere for a handler of its key. Returns false if there is no room. */
  addKeyed({ size }: Delivery): boolean {
    if (!this.#hasRoom(size)) return false
    this.#keyed++
    this.#bytes += size
    return true
  }

  /** Counts a message that no longer waits elsewhere. */
  removeKeyed({ size }: Delivery): void {
    this.#keyed--
    this.#bytes -= size
  }

  #hasRoom(size: number): boolean {
    return this.count < MAX_SIZES.waitingForHandler && this.#bytes + size <= MAX_SIZES.waitingForHandlerBytes
  }

  /** Removes and returns the next message, or undefined if none waits. Skips abandoned ones. */
  shift(): Delivery | undefined {
    while (this.#next < this.#waiting.length) {
      const delivery = this.#waiting[this.#next++]!
      this.#bytes -= delivery.size
      if (this.#next * 2 > this.#waiting.length) this.#compact()
      if (!delivery.isSettled) return delivery
    }
    return undefined
  }

  /** Removes the processed half. Each remaining message is moved at most once. */
  #compact(): void {
    this.#waiting = this.#waiting.slice(this.#next)
    this.#next = 0
  }
}
