import type { Clock } from '../../src/core/clock.ts'
import type { JetStreamMessage } from './client.ts'
import type { Delivery } from './delivery.ts'

/**
 * What a consumer holds, by what names a message at all its deliveries. The server is told that each is being worked
 * on every third of the time in which it wants an answer.
 */
export class KeepAlive {
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #failed: (cause: unknown) => void
  readonly #held = new Map<string, Delivery>()
  /** Messages whose handlers are at work, and since when. */
  readonly #handled = new Map<Delivery, number>()
  #cancelTick: (() => void) | undefined

  constructor(clock: Clock, ackWaitMs: number, failed: (cause: unknown) => void) {
    this.#clock = clock
    this.#everyMs = Math.max(1, Math.floor(ackWaitMs / 3))
    this.#failed = failed
  }

  /** Puts a later delivery of something that is held in the place of the older; false where it is not held. */
  replace(source: JetStreamMessage): boolean {
    const known = this.#held.get(idOf(source) ?? '')
    if (known !== undefined) known.source = source
    return known !== undefined
  }

  add(delivery: Delivery, id: string): void {
    delivery.heldAs = id
    this.#held.set(id, delivery)
    this.#tickLater()
  }

  remove(delivery: Delivery): void {
    this.#held.delete(delivery.heldAs ?? '')
    this.#stopIfIdle()
  }

  #stopIfIdle(): void {
    if (this.#held.size > 0 || this.#handled.size > 0) return
    this.#cancelTick?.()
    this.#cancelTick = undefined
  }

  /** Keeps a message alive while its handler is at work, for `upToMs` at the most. */
  begin(delivery: Delivery, upToMs: number): void {
    this.#handled.set(delivery, this.#clock.now() + upToMs)
    this.#tickLater()
  }

  end(delivery: Delivery): void {
    this.#handled.delete(delivery)
    this.#stopIfIdle()
  }

  /** Tells the server now. */
  tell(delivery: Delivery): void {
    try {
      ;(delivery.source as JetStreamMessage).working()
    } catch (cause) {
      this.#failed(cause)
    }
  }

  #tellHandled(): void {
    const nowMs = this.#clock.now()
    for (const [delivery, untilMs] of this.#handled) {
      if (nowMs < untilMs) this.tell(delivery)
      else this.#handled.delete(delivery)
    }
  }

  #tickLater(): void {
    this.#cancelTick ??= this.#clock.after(this.#everyMs, () => {
      this.#cancelTick = undefined
      for (const delivery of this.#held.values()) this.tell(delivery)
      this.#tellHandled()
      if (this.#held.size > 0 || this.#handled.size > 0) this.#tickLater()
    })
  }
}

/** What names a message at all its deliveries; undefined where the client cannot tell. */
export function idOf(message: JetStreamMessage): string | undefined {
  try {
    const { stream, consumer, streamSequence } = message.info
    return `${stream} ${consumer} ${streamSequence}`
  } catch {
    return undefined
  }
}
