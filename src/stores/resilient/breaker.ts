import type { Clock } from '../../core/clock.ts'
import type { BreakerState } from '../store.ts'

export interface StoreBreakerOptions {
  /** Consecutive failures that open the breaker. */
  readonly threshold: number
  /** Longest time it stays open before the store is tried again, in milliseconds. */
  readonly recoveryMs: number
  readonly clock: Clock
  readonly onChange: (state: BreakerState, detail: string | undefined) => void
}

/** Permission for one request to the store; its result is reported with it. Void after a state change. */
export type BreakerPermit = number

/**
 * Circuit breaker. Closed: every request passes. After `threshold` consecutive failures it opens and no request
 * passes. After `recoveryMs` it is half-open: one request passes at a time, whose success closes it and whose failure
 * opens it again.
 */
export class Breaker {
  readonly #options: StoreBreakerOptions
  #state: BreakerState = 'closed'
  /** Increases with every state change: the result of an earlier request says nothing about the new state. */
  #permit: BreakerPermit = 1
  #failures = 0
  #hasAsyncFailure = false
  #isProbing = false
  #cancel: (() => void) | undefined

  constructor(options: StoreBreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    return this.#state
  }

  /** True after a failure that no success followed. */
  get hasFailures(): boolean {
    return this.#failures > 0
  }

  /** Returns a permit, or undefined if the request must not be sent. Half-open, only one is out at a time. */
  admit(): BreakerPermit | undefined {
    if (this.#state === 'open' || this.#isProbing) return undefined
    this.#isProbing = this.#state === 'half-open'
    return this.#permit
  }

  /**
   * Records an answer. A synchronous answer (`isAsync` false) does not reset asynchronous failures. Why: it may come
   * from a local lease.
   */
  recordSuccess(permit: BreakerPermit, isAsync: boolean): void {
    if (permit !== this.#permit) return
    this.#isProbing = false
    if (!isAsync && this.#hasAsyncFailure) return
    this.#failures = 0
    if (this.#state === 'half-open') this.#setState('closed')
  }

  /** Records a missing or unusable answer. */
  recordFailure(permit: BreakerPermit, isAsync: boolean, detail: string): void {
    if (permit !== this.#permit) return
    this.#isProbing = false
    this.#hasAsyncFailure = isAsync
    this.#failures++
    if (this.#state === 'closed' && this.#failures < this.#options.threshold) return
    this.#setState('open', detail)
    this.#cancel = this.#options.clock.after(this.#options.recoveryMs, () => this.halfOpen())
  }

  /** Half-opens an open breaker ahead of time. */
  halfOpen(): void {
    if (this.#state === 'open') this.#setState('half-open')
  }

  /** Cancels the timer. */
  close(): void {
    this.#cancel?.()
  }

  #setState(state: BreakerState, detail?: string): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#state = state
    this.#permit++
    if (state === 'closed') this.#failures = 0
    this.#options.onChange(state, detail)
  }
}
