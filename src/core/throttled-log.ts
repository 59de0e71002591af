import type { Clock } from './clock.ts'
import type { Logger } from './logger.ts'

const EVERY_MS = 1_000

/** Logs a frequent warning at most once a second, with a count. Never throws. */
export class ThrottledLog {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #text: string
  /** Number of occurrences so far. */
  count = 0
  #loggedAtMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, logger: Logger, text: string) {
    this.#clock = clock
    this.#logger = logger
    this.#text = text
  }

  log(context: object): void {
    this.count++
    const nowMs = this.#clock.now()
    if (nowMs - this.#loggedAtMs < EVERY_MS) return
    this.#loggedAtMs = nowMs
    try {
      this.#logger.warn({ ...context, count: this.count }, this.#text)
    } catch {
      // An error of the logger must not affect messages.
    }
  }
}
