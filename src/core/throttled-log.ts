import type { Clock } from './clock.ts'
import type { Logger } from './logger.ts'

/** Logs a frequent warning or error at most once per `everyMs`, with a count. Never throws. */
export class ThrottledLog {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #text: string
  readonly #level: 'warn' | 'error'
  readonly #everyMs: number
  /** Number of occurrences so far. */
  count = 0
  #loggedAtMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, logger: Logger, text: string, level: 'warn' | 'error' = 'warn', everyMs = 1_000) {
    this.#clock = clock
    this.#logger = logger
    this.#text = text
    this.#level = level
    this.#everyMs = everyMs
  }

  log(fields: object): void {
    this.count++
    const nowMs = this.#clock.now()
    if (nowMs - this.#loggedAtMs < this.#everyMs) return
    this.#loggedAtMs = nowMs
    try {
      this.#logger[this.#level]({ ...fields, count: this.count }, this.#text)
    } catch {
      // An error of the logger must not affect messages.
    }
  }
}
