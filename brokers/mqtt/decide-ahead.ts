import { MAX_PENDING_CHECKS } from '../../src/guard/sender-queue.ts'
import type { Acks } from './acks.ts'
import type { ReceivedMessage } from './message.ts'

/** Messages under way at once while a store is asked: fewer than a lane takes before it asks for a stop. */
export const WINDOW_AHEAD = MAX_PENDING_CHECKS - 1

/**
 * The messages of one connection that are not done, in the order they came. While a store takes its time to answer, the
 * client brings the next ones, so that many questions are under way at once. They are acknowledged in their order
 * [MQTT-4.6.0-2].
 */
export class AckWindow {
  readonly #acks: Acks
  readonly #mayGo: () => boolean
  readonly #messages: ReceivedMessage[] = []

  /** `mayGo` tells whether it is a store that the last one waits for. */
  constructor(acks: Acks, mayGo: () => boolean) {
    this.#acks = acks
    this.#mayGo = mayGo
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0
  }

  /** Takes a message in, before it is decided. */
  enter(message: ReceivedMessage): void {
    message.ackWindow = this
    this.#messages.push(message)
  }

  /** Has the client go ahead of the last message, where it may and there is room. */
  go(): void {
    const last = this.#messages.at(-1)
    if (last === undefined || last.isAhead || this.#messages.length >= WINDOW_AHEAD || !this.#mayGo()) return
    if (!this.#acks.canGoAhead(last)) return
    this.#acks.goAhead(last)
  }

  /** A message is done; it is acknowledged when all before it are. */
  settle(message: ReceivedMessage, reasonCode: number): void {
    message.reasonCode = reasonCode
    for (let first = this.#messages[0]; first?.reasonCode !== undefined; first = this.#messages[0]) {
      this.#messages.shift()
      first.ackWindow = undefined
      this.#acks.finish(first, first.reasonCode)
    }
    this.go()
  }
}
