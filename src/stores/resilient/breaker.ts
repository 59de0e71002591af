import type { Clock } from '../../core/clock.ts'
import type { BreakerState } from '../store.ts'

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly threshold: number
  /** How long it stays open at the most before the store is tried again, in milliseconds. */
  readonly recoveryMs: number
  readonly clock: Clock
  readonly onChange: (state: BreakerState, detail: string | undefined) => void
}

/** Leave to ask the store once; whoever has it says how it went. Void as soon as the state has changed. */
export type Ticket = number

/**
 * A circuit breaker. Closed, all are let through; after `threshold` failures in a row it opens and nobody is; after
 * `recoveryMs` it is half open: one is let through at a time, whose success closes it and whose failure opens it anew.
 */
export class Breaker {
  readonly #options: BreakerOptions
  #state: BreakerState = 'closed'
  /** Of the state as it is now: what was asked before a change says nothing about what came after. */
  #ticket: Ticket = 1
  #failures = 0
  #failedLater = false
  #probing = false
  #cancel: (() => void) | undefined

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Leave to ask, or undefined. Half open, it is given to one at a time. */
  admit(): Ticket | undefined {
    if (this.#state === 'open' || this.#probing) return undefined
    this.#probing = this.#state === 'half-open'
    return this.#ticket
  }

  /**
   * An answer came, at once or `later`. What is answered at once proves nothing where failures came later: a lease in
   * hand says nothing of the store behind it.
   */
  succeed(ticket: Ticket, later: boolean): void {
    if (ticket !== this.#ticket) return
    this.#probing = false
    if (!later && this.#failedLater) return
    this.#failures = 0
    if (this.#state === 'half-open') this.#turn('closed')
  }

  /** No answer came, or none of use. */
  fail(ticket: Ticket, later: boolean, detail: string): void {
    if (ticket !== this.#ticket) return
    this.#probing = false
    this.#failedLater = later
    this.#failures++
    if (this.#state === 'closed' && this.#failures < this.#options.threshold) return
    this.#turn('open', detail)
    this.#cancel = this.#options.clock.after(this.#options.recoveryMs, () => this.tryAgain())
  }

  /** Half opens an open breaker before its time. */
  tryAgain(): void {
    if (this.#state === 'open') this.#turn('half-open')
  }

  /** Ends its timer. */
  close(): void {
    this.#cancel?.()
  }

  #turn(state: BreakerState, detail?: string): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#state = state
    this.#ticket++
    if (state === 'closed') this.#failures = 0
    this.#options.onChange(state, detail)
  }
}
