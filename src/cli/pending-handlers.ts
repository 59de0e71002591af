import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import type { Handled } from '../index.ts'

/** A message whose handler is at work. */
interface Ending {
  readonly dueMs: number
  readonly message: Message
  readonly handled: Handled
}

/** Handlers at work on a virtual clock, in the order in which they end. Of too many the first ends early. */
export class PendingHandlers {
  readonly #waiting: Ending[] = []
  readonly #tell: (ending: Ending) => void

  /** `tell` is called for each that ends, at its moment. */
  constructor(tell: (ending: Ending) => void) {
    this.#tell = tell
  }

  /** A handler begins. What was begun first ends first, of those due at one millisecond. */
  add(atMs: number, message: Message, handled: Handled): void {
    const waiting = this.#waiting
    const dueMs = atMs + handled.durationMs
    let place = waiting.length
    while (place > 0 && waiting[place - 1]!.dueMs > dueMs) place--
    waiting.splice(place, 0, { dueMs, message, handled })
    if (waiting.length > MAX_SIZES.handlersReplayed) this.#tell({ ...waiting.shift()!, dueMs: atMs })
  }

  /** Ends all that are due by a moment. */
  pass(ms: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.dueMs <= ms) this.#tell(this.#waiting.shift()!)
  }
}
