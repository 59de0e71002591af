import type { Clock } from './clock.ts'
import type { Logger } from './logger.ts'

/**
 * Logs frequent warnings or errors: at most one line per `everyMs`, with the number of lines left out since the last one.
 * Never throws.
 */
export class ThrottledLog {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #level: 'warn' | 'error'
  readonly #everyMs: number
  #loggedAtMs = Number.NEGATIVE_INFINITY
  #suppressed = 0

  constructor(clock: Clock, logger: Logger, level: 'warn' | 'error' = 'warn', everyMs = 1_000) {
    this.#clock = clock
    this.#logger = logger
    this.#level = level
    this.#everyMs = everyMs
  }

  log(fields: object, text: string): void {
    const nowMs = this.#clock.now()
    if (nowMs - this.#loggedAtMs < this.#everyMs) {
      this.#suppressed++
      return
    }
    const suppressed = this.#suppressed
    this.#loggedAtMs = nowMs
    this.#suppressed = 0
    try {
      this.#logger[this.#level]({ ...fields, suppressed }, text)
    } catch {
      // An error of the logger must not affect messages.
    }
  }
}
