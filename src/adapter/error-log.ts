import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'

/** Shortest time between two log lines of one kind. */
const EVERY_MS = 10_000

/** Kind of operation that failed. */
export type ErrorKind = 'handler' | 'identify' | 'answer' | 'publish' | 'subscription' | 'policy'

/**
 * Logs errors of application code and clients, at most one line per kind every ten seconds, with a count of those left
 * out. Never throws. Because an exception would end the reader of a connection.
 */
export class ErrorLog {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #lastLogged = new Map<ErrorKind, { loggedAtMs: number; suppressed: number }>()

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger
    this.#clock = clock
  }

  logError(kind: ErrorKind, err: unknown): void {
    const nowMs = this.#clock.now()
    const last = this.#lastLogged.get(kind)
    if (last !== undefined && nowMs - last.loggedAtMs < EVERY_MS) {
      last.suppressed++
      return
    }
    this.#lastLogged.set(kind, { loggedAtMs: nowMs, suppressed: 0 })
    try {
      this.#logger.error({ err, kind, suppressed: last?.suppressed ?? 0 }, `${kind} failed`)
    } catch {
      // A logger that throws must not stop a connection.
    }
  }
}
