import type { Logger } from '../../core/logger.ts'
import type { Fallback } from '../store.ts'

export interface ErrorCausesOptions {
  readonly store: string
  readonly fallback: Fallback
  readonly logger: Logger
}

/** Causes of one outage that are logged at warn; of more, one may be logged twice. */
const MOST = 16

/** Why a store is out of reach: logs each cause once, until the store decides again. */
export class ErrorCauses {
  /** The latest cause. */
  last: string | undefined
  readonly #options: ErrorCausesOptions
  readonly #logged = new Set<string>()

  constructor(options: ErrorCausesOptions) {
    this.#options = options
  }

  /** Whether a cause differs from all that were logged. Numbers make no difference: ports and times change. */
  isNew(detail: string): boolean {
    return !this.#logged.has(keyOf(detail))
  }

  report(detail: string | undefined, text: string): void {
    const { logger, store, fallback } = this.#options
    const isNew = this.isNew(detail ?? '')
    this.last = detail
    if (this.#logged.size >= MOST) this.#logged.clear()
    this.#logged.add(keyOf(detail ?? ''))
    const context = detail === undefined ? { store, fallback } : { store, fallback, detail }
    if (isNew) logger.warn(context, text)
    else logger.debug(context, text)
  }

  /** The store decides again: whatever comes next is logged anew. */
  clear(): void {
    this.#logged.clear()
    this.last = undefined
  }
}

function keyOf(detail: string): string {
  return detail.replace(/\d+/g, '#')
}
