import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { ReceivedMessage } from './message.ts'

/**
 * Passed messages that wait for a free handler, in order of arrival. At most `MAX_SIZES.waitingForHandler` messages and
 * `MAX_SIZES.waitingForHandlerBytes` payload bytes per subscription.
 */
export class HandlerBacklog {
  #waiting: ReceivedMessage[] = []
  #next = 0
  #bytes = 0
  #reserved = 0

  /** Number of messages that wait, including those that wait for a handler of their key. */
  get count(): number {
    return this.#waiting.length - this.#next + this.#reserved
  }

  /** Adds a message. Returns false if there is no room. */
  add(message: ReceivedMessage): boolean {
    if (!this.#hasRoom(message.size)) return false
    this.#waiting.push(message)
    this.#bytes += message.size
    return true
  }

  /** Counts a message that waits elsewhere for a handler of its key. Returns false if there is no room. */
  reserve({ size }: ReceivedMessage): boolean {
    if (!this.#hasRoom(size)) return false
    this.#reserved++
    this.#bytes += size
    return true
  }

  /** Counts a message that no longer waits elsewhere. */
  release({ size }: ReceivedMessage): void {
    this.#reserved--
    this.#bytes -= size
  }

  #hasRoom(size: number): boolean {
    return this.count < MAX_SIZES.waitingForHandler && this.#bytes + size <= MAX_SIZES.waitingForHandlerBytes
  }

  /** Removes and returns the next message, or undefined if none waits. Skips abandoned ones. */
  shift(): ReceivedMessage | undefined {
    while (this.#next < this.#waiting.length) {
      const message = this.#waiting[this.#next++]!
      this.#bytes -= message.size
      if (this.#next * 2 > this.#waiting.length) this.#compact()
      if (!message.isSettled) return message
    }
    return undefined
  }

  /** Removes the processed half. Each remaining message is moved at most once. */
  #compact(): void {
    this.#waiting = this.#waiting.slice(this.#next)
    this.#next = 0
  }
}
