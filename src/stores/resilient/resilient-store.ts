import type { Limit } from '../../algorithms/limit-types.ts'
import { type Clock, callIfLate, sleep, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise } from '../../core/message.ts'
import { errorText, timeoutError, withTimeout } from '../../core/with-timeout.ts'
import type { ShareableBackend } from '../backend-connection.ts'
import type { HeldLeases } from '../leased/held-leases.ts'
import type { SharedEntries } from '../shared-entries.ts'
import type {
  BreakerState,
  BreakerStateEvent,
  Charge,
  Fallback,
  StateSelector,
  Store,
  StoreEvent,
  StoreHealth,
  Verdict,
} from '../store.ts'
import { Breaker, type BreakerPermit } from './breaker.ts'
import { FallbackStore } from './fallback-store.ts'
import { OutageLog } from './outage-log.ts'
import { completeResilientOptions, type ResilientSettings, type ResilientStoreOptions } from './settings.ts'

export type { ResilientStoreOptions }

/** Timeout of operator actions, which may touch every key. */
const OPERATOR_TIMEOUT_MS = 10_000
/** Longest wait for an unreachable store to close. */
const CLOSE_TIMEOUT_MS = 50
/** Delay between health checks of an unreachable store; it doubles with each attempt, up to the maximum. */
const MIN_PROBE_DELAY_MS = 1_000
const MAX_PROBE_DELAY_MS = 4_000
/** Interval at which readiness is polled. */
const READY_POLL_MS = 20

type DecideOptions = Parameters<Store['decide']>[1]

/**
 * Store that always answers in time. If the store behind it fails or is late, the fallback decides and the verdicts
 * say so. After several consecutive failures the store is not asked for a while (see {@link Breaker}). `decide` and
 * `refund` neither throw nor reject before `close`. Synchronous answers stay synchronous.
 */
export class ResilientStore implements Store {
  readonly name: string
  readonly algorithms: ReadonlySet<string>
  readonly sharedEntries: SharedEntries | undefined
  readonly backend: ShareableBackend | undefined
  readonly answersWithinMs: number
  readonly fallback: Fallback
  readonly #store: Store
  readonly #settings: ResilientSettings
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #breaker: Breaker
  readonly #fallbackStore: FallbackStore
  readonly #listeners = new Set<(event: StoreEvent) => void>()
  readonly #unsubscribe: readonly (() => void)[]
  #cancelHealthCheck: () => void
  readonly #causes: OutageLog
  /** Callbacks that let the fallback make each decision that is still pending. */
  readonly #pendingFallbacks = new Set<(cause: unknown) => void>()
  #refunds = 0
  #probeDelayMs = MIN_PROBE_DELAY_MS
  #closed = false

  /** Throws PolicyError for an invalid option. */
  constructor(options: ResilientStoreOptions) {
    const settings = completeResilientOptions(options)
    const { store, clock, fallback, nodes } = settings
    this.#store = store
    this.name = store.name
    this.algorithms = store.algorithms
    this.sharedEntries = store.sharedEntries
    this.backend = store.backend
    this.#settings = settings
    this.answersWithinMs = settings.timeoutMs
    this.fallback = fallback
    this.#causes = new OutageLog({ store: this.name, fallback, logger: settings.logger })
    this.#clock = clock
    this.#logger = settings.logger
    this.#fallbackStore = new FallbackStore({ fallback, nodes, clock })
    this.#breaker = new Breaker({
      ...settings,
      onChange: (state, detail) => this.#onStateChange(state, detail),
    })
    const pass = (event: StoreEvent): void => this.#notifyListeners(event)
    this.#unsubscribe = [this.#fallbackStore.watch(pass), store.watch?.(pass) ?? (() => {})]
    this.#cancelHealthCheck = this.#scheduleHealthCheck()
  }

  get state(): BreakerState {
    return this.#breaker.state
  }

  /** Undefined while the fallback decides, or a success has to be recorded. */
  get heldLeases(): HeldLeases | undefined {
    const isReachable = !this.#closed && this.#breaker.state === 'closed' && !this.#breaker.hasFailures
    const isBusy = this.#pendingFallbacks.size >= MAX_SIZES.pendingStoreDecisions
    return isReachable && !isBusy ? this.#store.heldLeases : undefined
  }

  refuses(limit: Limit): string | undefined {
    return this.#store.refuses?.(limit)
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    this.#store.adopt?.(limits, nowMs)
  }

  decide(charges: readonly Charge[], options: DecideOptions): MaybePromise<readonly Verdict[]> {
    if (this.#closed) throw new StoreError(`the ${this.name} store is closed`)
    const permit = this.#admit(options.commit)
    if (permit === undefined) return this.#fallbackStore.answer(charges, options)
    let answer: MaybePromise<readonly Verdict[]>
    try {
      answer = this.#store.decide(charges, options)
    } catch (cause) {
      this.#breaker.recordFailure(permit, false, errorText(cause))
      return this.#fallbackStore.answer(charges, options)
    }
    if (answer instanceof Promise) return this.#awaitAnswer(answer, permit, charges, options)
    if (options.commit) this.#breaker.recordSuccess(permit, false)
    return answer
  }

  /**
   * Refunds where the units were taken. Units of the store are refunded only while it is reachable; otherwise they
   * stay charged until the limit refills, which never admits too much.
   */
  refund(charges: readonly Charge[]): MaybePromise<void> {
    const theirs = this.#fallbackStore.refund(charges)
    if (theirs.length > 0 && !this.#closed && this.state === 'closed') return this.#refundInStore(theirs)
  }

  /** Forgets here and in the store. Rejects with StoreError if the store did not confirm it. */
  async forget(selector: StateSelector): Promise<number> {
    this.#fallbackStore.forget(selector)
    try {
      return await withTimeout(this.#clock, OPERATOR_TIMEOUT_MS, () => this.#store.forget(selector))
    } catch (cause) {
      const remedy = 'try again when it can be reached'
      throw new StoreError(`the ${this.name} store did not forget: ${errorText(cause)} (${remedy})`, {
        cause,
      })
    }
  }

  /** Returns the store's health with the breaker's state; while it is open, the store is not asked. */
  async health(): Promise<StoreHealth> {
    const { state } = this
    const { fallback } = this.#settings
    if (state === 'open')
      return { ok: false, state, fallback, detail: this.#causes.last ?? 'the store does not answer' }
    const health = await this.#readHealth()
    return { ...health, ok: health.ok && this.state === 'closed', state: this.state, fallback }
  }

  /**
   * Resolves once the store decides; until then the fallback decides. Rejects with StoreError and the cause after
   * `withinMs` of real time, independent of the configured clock.
   */
  async ready(withinMs = OPERATOR_TIMEOUT_MS): Promise<void> {
    const deadlineMs = systemClock.now() + withinMs
    for (;;) {
      if (this.#closed) throw new StoreError(`the ${this.name} store is closed`)
      const { ok, detail = 'its health check failed' } = await this.#readHealth()
      if (ok) return
      if (systemClock.now() >= deadlineMs)
        throw new StoreError(`the ${this.name} store is not ready: ${detail}`)
      await sleep(systemClock, READY_POLL_MS)
    }
  }

  /** Waits until the store is ready, at most `withinMs`; then logs the cause. Never rejects. */
  async start(withinMs: number): Promise<void> {
    const deadlineMs = systemClock.now() + withinMs
    for (;;) {
      const { ok, detail } = await this.#readHealth()
      if (ok || this.#closed) return
      if (systemClock.now() >= deadlineMs) {
        const context = { store: this.name, fallback: this.fallback, detail }
        return this.#logger.warn(context, 'the store cannot be used yet, the fallback decides')
      }
      await sleep(systemClock, READY_POLL_MS)
    }
  }

  /** Subscribes to state changes of the breaker and to events of the store; returns a function that unsubscribes. */
  watch(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Lets the fallback make pending decisions, cancels all timers and closes the store within a time limit. */
  async close(): Promise<void> {
    if (this.#closed) return
    const isReached = this.state === 'closed'
    this.#closed = true
    this.#cancelHealthCheck()
    this.#breaker.close()
    for (const useFallback of this.#pendingFallbacks) useFallback(new StoreError('it was closed'))
    for (const end of this.#unsubscribe) end()
    await this.#fallbackStore.close()
    try {
      // An unreachable store cannot take leases back and does not answer: it closes in the background.
      await withTimeout(this.#clock, isReached ? OPERATOR_TIMEOUT_MS : CLOSE_TIMEOUT_MS, () =>
        this.#store.close(),
      )
    } catch (err) {
      const context = { err, store: this.name }
      if (isReached) this.#logger.warn(context, 'the store did not close')
      else this.#logger.debug(context, 'the store did not close')
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #admit(commit: boolean): BreakerPermit | undefined {
    if (this.#pendingFallbacks.size >= MAX_SIZES.pendingStoreDecisions) return undefined
    // A peek proves nothing: a replica that takes no charges answers it too.
    if (!commit && this.state !== 'closed') return undefined
    return this.#breaker.admit()
  }

  #awaitAnswer(
    answer: Promise<readonly Verdict[]>,
    permit: BreakerPermit,
    charges: readonly Charge[],
    options: DecideOptions,
  ): Promise<readonly Verdict[]> {
    return new Promise(resolve => {
      const useFallback = (cause: unknown): void => {
        cancel()
        this.#pendingFallbacks.delete(useFallback)
        this.#breaker.recordFailure(permit, true, errorText(cause))
        resolve(this.#fallbackStore.answer(charges, options))
      }
      const cancel = callIfLate(this.#clock, this.#settings.timeoutMs, () =>
        useFallback(timeoutError(this.#settings.timeoutMs)),
      )
      this.#pendingFallbacks.add(useFallback)
      answer.then(
        verdicts => {
          if (!this.#pendingFallbacks.delete(useFallback))
            return this.#refundLateAnswer(charges, verdicts, options.commit)
          cancel()
          if (options.commit) this.#breaker.recordSuccess(permit, true)
          resolve(verdicts)
        },
        (cause: unknown) => {
          if (this.#pendingFallbacks.has(useFallback)) useFallback(cause)
        },
      )
    })
  }

  /** Refunds units of a late answer, because the fallback has already decided. */
  #refundLateAnswer(charges: readonly Charge[], verdicts: readonly Verdict[], commit: boolean): void {
    if (!commit || this.#closed) return
    if (charges.some((charge, index) => !verdicts[index]?.allowed && charge.soft !== true)) return
    const taken = charges.filter((_, index) => verdicts[index]?.allowed)
    if (taken.length > 0) void this.#refundInStore(taken)
  }

  /** Refunds in the store, best effort, within the decision timeout. */
  #refundInStore(charges: readonly Charge[]): MaybePromise<void> {
    if (this.#refunds >= MAX_SIZES.pendingStoreDecisions) return
    try {
      const given = this.#store.refund(charges)
      if (!(given instanceof Promise)) return
      this.#refunds++
      return withTimeout(this.#clock, this.#settings.timeoutMs, () => given)
        .catch((err: unknown) => this.#logger.debug({ err }, 'the store refunded nothing'))
        .finally(() => this.#refunds--)
    } catch (err) {
      this.#logger.debug({ err }, 'the store refunded nothing')
    }
  }

  #scheduleHealthCheck(): () => void {
    const { healthEveryMs } = this.#settings
    const ms = this.state === 'open' ? Math.min(this.#probeDelayMs, healthEveryMs) : healthEveryMs
    return this.#clock.after(ms, () => void this.#checkHealth())
  }

  /** Half-opens the breaker early if the store is healthy again; records a failure if it is not. */
  async #checkHealth(): Promise<void> {
    const permit = this.state === 'closed' ? this.#breaker.admit() : undefined
    const { ok, detail } = await this.#readHealth()
    if (this.#closed) return
    if (ok && this.state === 'open') {
      this.#probeDelayMs = Math.min(2 * this.#probeDelayMs, MAX_PROBE_DELAY_MS)
      this.#breaker.halfOpen()
    } else if (!ok && permit !== undefined) {
      this.#breaker.recordFailure(permit, true, detail ?? 'its health check failed')
    } else if (!ok) this.#updateCause(detail)
    this.#rescheduleHealthCheck()
  }

  #rescheduleHealthCheck(): void {
    this.#cancelHealthCheck()
    if (!this.#closed) this.#cancelHealthCheck = this.#scheduleHealthCheck()
  }

  async #readHealth(): Promise<StoreHealth> {
    try {
      return await withTimeout(this.#clock, this.#settings.timeoutMs, () => this.#store.health())
    } catch (cause) {
      return { ok: false, detail: errorText(cause) }
    }
  }

  #onStateChange(state: BreakerState, detail: string | undefined): void {
    const { name: store } = this
    const context = { store, state, fallback: this.fallback }
    if (state === 'open') this.#causes.report(detail, 'the store is unreachable, the fallback decides')
    else if (state === 'closed') {
      this.#causes.clear()
      this.#probeDelayMs = MIN_PROBE_DELAY_MS
      this.#logger.info(context, 'the store decides again')
    } else this.#logger.debug(context, 'the store is probed')
    this.#rescheduleHealthCheck()
    const event: BreakerStateEvent = { kind: 'state', store, state, ok: state === 'closed' }
    this.#notifyListeners(detail === undefined ? event : { ...event, detail })
  }

  /** Updates the cause while the store is unreachable: a server that was down may come back and refuse the password. */
  #updateCause(detail: string | undefined): void {
    if (this.state !== 'open' || detail === undefined) return
    if (this.#causes.isNew(detail)) this.#onStateChange('open', detail)
    else this.#causes.last = detail
  }

  #notifyListeners(event: StoreEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (err) {
        this.#logger.error({ err }, 'a listener threw')
      }
    }
  }
}
