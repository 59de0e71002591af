import type { Logger } from '../../core/logger.ts'
import type { Fallback } from '../store.ts'

export interface OutageLogOptions {
  readonly store: string
  readonly fallback: Fallback
  readonly logger: Logger
}

/** Limit of causes per outage that are logged at warn; beyond it a cause may be logged twice. */
const MAX_CAUSES = 16

/** Logs each cause of an outage once, until the store decides again. */
export class OutageLog {
  /** Latest cause. */
  last: string | undefined
  readonly #options: OutageLogOptions
  readonly #logged = new Set<string>()

  constructor(options: OutageLogOptions) {
    this.#options = options
  }

  /** Returns true if a cause differs from all logged ones. Numbers are ignored because ports and times change. */
  isNew(detail: string): boolean {
    return !this.#logged.has(keyOf(detail))
  }

  report(detail: string | undefined, text: string): void {
    const { logger, store, fallback } = this.#options
    const isNew = this.isNew(detail ?? '')
    this.last = detail
    if (this.#logged.size >= MAX_CAUSES) this.#logged.clear()
    this.#logged.add(keyOf(detail ?? ''))
    const context = detail === undefined ? { store, fallback } : { store, fallback, detail }
    if (isNew) logger.warn(context, text)
    else logger.debug(context, text)
  }

  /** Clears the causes when the store decides again, so that each is logged anew. */
  clear(): void {
    this.#logged.clear()
    this.last = undefined
  }
}

function keyOf(detail: string): string {
  return detail.replace(/\d+/g, '#')
}
