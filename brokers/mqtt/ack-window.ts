import { MAX_PENDING_CHECKS } from '../../src/guard/sender-queue.ts'
import type { AckSender } from './ack-sender.ts'
import type { ReceivedMessage } from './message.ts'

/** Most messages in progress while a store is asked: fewer than the number at which a sender queue asks to pause. */
export const MAX_ACK_WINDOW = MAX_PENDING_CHECKS - 1

/**
 * Unfinished messages of one connection, in order of arrival. While a store has not answered, the client reads further
 * messages, so that many checks run at once. Acknowledges messages in order [MQTT-4.6.0-2].
 */
export class AckWindow {
  readonly #ackSender: AckSender
  readonly #canContinue: () => boolean
  readonly #messages: ReceivedMessage[] = []

  /** `canContinue` returns true if the last message waits for a store. */
  constructor(ackSender: AckSender, canContinue: () => boolean) {
    this.#ackSender = ackSender
    this.#canContinue = canContinue
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0
  }

  /** Adds a message before it is decided. */
  add(message: ReceivedMessage): void {
    message.isInAckWindow = true
    this.#messages.push(message)
  }

  /** Makes the client read the next message if the last one waits for a store and the window has room. */
  continueIfAllowed(): void {
    const last = this.#messages.at(-1)
    if (
      last === undefined ||
      last.isContinuedBeforeAck ||
      this.#messages.length >= MAX_ACK_WINDOW ||
      !this.#canContinue()
    )
      return
    if (!this.#ackSender.canAcknowledgeSeparately(last)) return
    this.#ackSender.continueBeforeAck(last)
  }

  /** Finishes a message. It is acknowledged when all earlier ones are. */
  finish(message: ReceivedMessage, reasonCode: number): void {
    message.reasonCode = reasonCode
    for (let first = this.#messages[0]; first?.reasonCode !== undefined; first = this.#messages[0]) {
      this.#messages.shift()
      first.isInAckWindow = false
      this.#ackSender.finish(first, first.reasonCode)
    }
    this.continueIfAllowed()
  }
}
