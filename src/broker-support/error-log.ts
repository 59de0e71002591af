import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import { ThrottledLog } from '../core/throttled-log.ts'

/** Shortest time between two log lines of one text. */
const EVERY_MS = 10_000

/**
 * Logs errors of application code and clients: at most one line per text every ten seconds, with the number of those left out. Never throws,
 * because an exception would end the reader of a connection.
 */
export class ErrorLog {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #logs = new Map<string, ThrottledLog>()

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** Logs an error. `text` is one of few constants. */
  logError(text: string, err: unknown): void {
    let log = this.#logs.get(text)
    if (log === undefined) {
      log = new ThrottledLog(this.#clock, this.#logger, 'error', EVERY_MS)
      this.#logs.set(text, log)
    }
    log.log({ err }, text)
  }
}
