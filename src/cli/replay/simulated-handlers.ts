import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message } from '../../core/message.ts'
import type { HandlerResult } from '../../index.ts'

/** A message whose handler is running. */
interface PendingHandler {
  readonly dueMs: number
  readonly message: Message
  readonly handled: HandlerResult
}

/** Running handlers on a virtual clock, ordered by their end. Above the maximum, the first ends early. */
export class SimulatedHandlers {
  readonly #waiting: PendingHandler[] = []
  readonly #onEnd: (ending: PendingHandler) => void

  /** Calls `onEnd` for each handler at its end. */
  constructor(onEnd: (ending: PendingHandler) => void) {
    this.#onEnd = onEnd
  }

  /** Adds a handler. Handlers due at the same millisecond end in the order they started. */
  add(atMs: number, message: Message, handled: HandlerResult): void {
    const waiting = this.#waiting
    const dueMs = atMs + handled.durationMs
    let index = waiting.length
    while (index > 0 && waiting[index - 1]!.dueMs > dueMs) index--
    waiting.splice(index, 0, { dueMs, message, handled })
    if (waiting.length > MAX_SIZES.replayHandlers) this.#onEnd({ ...waiting.shift()!, dueMs: atMs })
  }

  /** Ends all handlers due by a time. */
  endDue(ms: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.dueMs <= ms) this.#onEnd(this.#waiting.shift()!)
  }
}
