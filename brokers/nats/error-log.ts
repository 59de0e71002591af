import type { Clock } from '../../src/core/clock.ts'
import type { Logger } from '../../src/core/logger.ts'

/** How often one kind of trouble is logged at the most. */
const EVERY_MS = 10_000

/** Kinds of trouble: what failed. */
export type LoggedError = 'handler' | 'identify' | 'answer' | 'publish' | 'subscription' | 'policy'

/**
 * Logs what fails in the hands of others, one line a kind every ten seconds, which tells how many it stands for. Never throws: where
 * it is called, an exception would end the reader of a connection.
 */
export class ErrorLog {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #lines = new Map<LoggedError, { shownAtMs: number; suppressed: number }>()

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger
    this.#clock = clock
  }

  note(kind: LoggedError, err: unknown): void {
    const nowMs = this.#clock.now()
    const line = this.#lines.get(kind)
    if (line !== undefined && nowMs - line.shownAtMs < EVERY_MS) {
      line.suppressed++
      return
    }
    this.#lines.set(kind, { shownAtMs: nowMs, suppressed: 0 })
    try {
      this.#logger.error({ err, kind, suppressed: line?.suppressed ?? 0 }, `${kind} failed`)
    } catch {
      // A logger that throws must not stop a connection.
    }
  }
}
