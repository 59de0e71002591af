import type { Clock } from '../../src/core/clock.ts'
import type { JetStreamMessage } from './client-types.ts'
import { jetStreamMessageKey, type ReceivedMessage } from './message.ts'

/**
 * Keeps held JetStream messages alive by sending `working` every third of the ack wait. Held messages are stored by an
 * id that is the same for all deliveries.
 */
export class AckWaitExtender {
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #onError: (cause: unknown) => void
  readonly #held = new Map<string, ReceivedMessage>()
  /** Messages in a handler, with the time until which they are kept alive. */
  readonly #inHandlers = new Map<ReceivedMessage, number>()
  #cancelTick: (() => void) | undefined

  constructor(clock: Clock, ackWaitMs: number, onError: (cause: unknown) => void) {
    this.#clock = clock
    this.#everyMs = Math.max(1, Math.floor(ackWaitMs / 3))
    this.#onError = onError
  }

  /** Replaces the older delivery of a held message. Returns false if the message is not held. */
  replace(source: JetStreamMessage): boolean {
    const known = this.#held.get(jetStreamMessageKey(source) ?? '')
    if (known !== undefined) known.source = source
    return known !== undefined
  }

  add(message: ReceivedMessage, id: string): void {
    message.heldId = id
    this.#held.set(id, message)
    this.#scheduleTick()
  }

  remove(message: ReceivedMessage): void {
    this.#held.delete(message.heldId ?? '')
    this.#stopIfIdle()
  }

  #stopIfIdle(): void {
    if (this.#held.size > 0 || this.#inHandlers.size > 0) return
    this.#cancelTick?.()
    this.#cancelTick = undefined
  }

  /** Keeps a message alive while its handler runs, for at most `upToMs`. */
  onHandlerStart(message: ReceivedMessage, upToMs: number): void {
    this.#inHandlers.set(message, this.#clock.now() + upToMs)
    this.#scheduleTick()
  }

  onHandlerEnd(message: ReceivedMessage): void {
    this.#inHandlers.delete(message)
    this.#stopIfIdle()
  }

  /** Sends `working` now. */
  sendWorking(message: ReceivedMessage): void {
    try {
      ;(message.source as JetStreamMessage).working()
    } catch (cause) {
      this.#onError(cause)
    }
  }

  #sendWorkingForHandlers(): void {
    const nowMs = this.#clock.now()
    for (const [message, untilMs] of this.#inHandlers) {
      if (nowMs < untilMs) this.sendWorking(message)
      else this.#inHandlers.delete(message)
    }
  }

  #scheduleTick(): void {
    this.#cancelTick ??= this.#clock.after(this.#everyMs, () => {
      this.#cancelTick = undefined
      for (const message of this.#held.values()) this.sendWorking(message)
      this.#sendWorkingForHandlers()
      if (this.#held.size > 0 || this.#inHandlers.size > 0) this.#scheduleTick()
    })
  }
}
