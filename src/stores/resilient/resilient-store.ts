import type { Limit } from '../../algorithms/limit.ts'
import { type Clock, limitWait, pause, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise } from '../../core/message.ts'
import { lateError, withTimeout, wordsOf } from '../../core/with-timeout.ts'
import type { Backend } from '../backend.ts'
import type { SharedEntries } from '../shared-entries.ts'
import type {
  BreakerState,
  Charge,
  Fallback,
  Selector,
  Store,
  StoreEvent,
  StoreHealth,
  StoreState,
  Verdict,
} from '../store.ts'
import { Breaker, type Ticket } from './breaker.ts'
import { ErrorCauses } from './error-causes.ts'
import { FallbackStore } from './fallback-store.ts'
import { type ResilientStoreOptions, type Settings, settingsOf } from './settings.ts'

export type { ResilientStoreOptions }

/** For what an operator asks, which may touch every key. */
const PATIENCE_MS = 10_000
/** The longest that closing waits for a store that is out of reach. */
const CLOSING_MS = 50
/** While a store is left alone its health is asked for so often at first, then twice as seldom each time it is tried. */
const FIRST_LOOK_MS = 1_000
const LAST_LOOK_MS = 4_000
/** Between two looks whether a store is ready. */
const LOOK_MS = 20

type DecideOptions = Parameters<Store['decide']>[1]

/**
 * A store that always answers in time. What the store behind it does not decide, or not in time, its fallback decides,
 * and the verdicts say so; after several failures in a row the store is left alone for a while (see {@link Breaker}).
 * `decide` and `refund` neither throw nor reject before it is closed. What the store answers at once is passed on at once.
 */
export class ResilientStore implements Store {
  readonly name: string
  readonly algorithms: ReadonlySet<string>
  readonly sharedEntries: SharedEntries | undefined
  readonly backend: Backend | undefined
  readonly answersWithinMs: number
  readonly fallback: Fallback
  readonly #store: Store
  readonly #settings: Settings
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #breaker: Breaker
  readonly #fallbackStore: FallbackStore
  readonly #listeners = new Set<(event: StoreEvent) => void>()
  readonly #unwatch: readonly (() => void)[]
  #cancelHealth: () => void
  readonly #causes: ErrorCauses
  /** How to have the fallback make each decision the store still owes. */
  readonly #owed = new Set<(cause: unknown) => void>()
  #refunds = 0
  #openLookMs = FIRST_LOOK_MS
  #closed = false

  /** Throws PolicyError for an option that makes no sense. */
  constructor(options: ResilientStoreOptions) {
    const settings = settingsOf(options)
    const { store, clock, fallback, nodes } = settings
    this.#store = store
    this.name = store.name
    this.algorithms = store.algorithms
    this.sharedEntries = store.sharedEntries
    this.backend = store.backend
    this.#settings = settings
    this.answersWithinMs = settings.timeoutMs
    this.fallback = fallback
    this.#causes = new ErrorCauses({ store: this.name, fallback, logger: settings.logger })
    this.#clock = clock
    this.#logger = settings.logger
    this.#fallbackStore = new FallbackStore({ fallback, nodes, clock })
    this.#breaker = new Breaker({ ...settings, onChange: (state, detail) => this.#turned(state, detail) })
    const pass = (event: StoreEvent): void => this.#tell(event)
    this.#unwatch = [this.#fallbackStore.watch(pass), store.watch?.(pass) ?? (() => {})]
    this.#cancelHealth = this.#scheduleHealth()
  }

  get state(): BreakerState {
    return this.#breaker.state
  }

  refuses(limit: Limit): string | undefined {
    return this.#store.refuses?.(limit)
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    this.#store.adopt?.(limits, nowMs)
  }

  decide(charges: readonly Charge[], options: DecideOptions): MaybePromise<readonly Verdict[]> {
    if (this.#closed) throw new StoreError(`the ${this.name} store is closed`)
    const ticket = this.#admit(options.commit)
    if (ticket === undefined) return this.#fallbackStore.answer(charges, options)
    let answer: MaybePromise<readonly Verdict[]>
    try {
      answer = this.#store.decide(charges, options)
    } catch (cause) {
      this.#breaker.fail(ticket, false, wordsOf(cause))
      return this.#fallbackStore.answer(charges, options)
    }
    if (answer instanceof Promise) return this.#await(answer, ticket, charges, options)
    if (options.commit) this.#breaker.succeed(ticket, false)
    return answer
  }

  /**
   * Gives back where it was taken. What the store took is only given back while it is in reach: else it stays charged
   * until it is whole again by itself, which lets nothing pass that should not.
   */
  refund(charges: readonly Charge[]): MaybePromise<void> {
    const theirs = this.#fallbackStore.refund(charges)
    if (theirs.length > 0 && !this.#closed && this.state === 'closed') return this.#giveBack(theirs)
  }

  /** Forgets here and in the store. Rejects with StoreError where the store did not say that it has. */
  async forget(selector: Selector): Promise<number> {
    this.#fallbackStore.forget(selector)
    try {
      return await withTimeout(this.#clock, PATIENCE_MS, () => this.#store.forget(selector))
    } catch (cause) {
      const remedy = 'try again once it is in reach'
      throw new StoreError(`the ${this.name} store did not forget: ${wordsOf(cause)} (${remedy})`, { cause })
    }
  }

  /** What the store says of itself, with the breaker's state; while it is open, the store is not asked. */
  async health(): Promise<StoreHealth> {
    const { state } = this
    const { fallback } = this.#settings
    if (state === 'open') return { ok: false, state, fallback, detail: this.#causes.last ?? 'out of reach' }
    const health = await this.#ask()
    return { ...health, ok: health.ok && this.state === 'closed', state: this.state, fallback }
  }

  /**
   * Resolves once the store behind decides, and rejects with StoreError, with the cause, if that takes longer than
   * `withinMs` of real time, whatever clock decides. Until then the fallback decides.
   */
  async ready(withinMs = PATIENCE_MS): Promise<void> {
    const endMs = systemClock.now() + withinMs
    for (;;) {
      if (this.#closed) throw new StoreError(`the ${this.name} store is closed`)
      const { ok, detail = 'it is not well' } = await this.#ask()
      if (ok) return
      if (systemClock.now() >= endMs) throw new StoreError(`the ${this.name} store is not ready: ${detail}`)
      await pause(systemClock, LOOK_MS)
    }
  }

  /** Waits until the store is ready, but no longer than `withinMs`; then the cause is logged. Never rejects. */
  async start(withinMs: number): Promise<void> {
    const endMs = systemClock.now() + withinMs
    for (;;) {
      const { ok, detail } = await this.#ask()
      if (ok || this.#closed) return
      if (systemClock.now() >= endMs) {
        const context = { store: this.name, fallback: this.fallback, detail }
        return this.#logger.warn(context, 'the store cannot be used yet, the fallback decides')
      }
      await pause(systemClock, LOOK_MS)
    }
  }

  /** Calls a listener when the breaker turns, and passes on what the store has to tell; returns how to end it. */
  watch(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Has the fallback decide what the store still owes, ends all timers and closes the store, or gives up on that. */
  async close(): Promise<void> {
    if (this.#closed) return
    const isReached = this.state === 'closed'
    this.#closed = true
    this.#cancelHealth()
    this.#breaker.close()
    for (const fallBack of this.#owed) fallBack(new StoreError('it was closed'))
    for (const end of this.#unwatch) end()
    await this.#fallbackStore.close()
    try {
      // What is out of reach takes no leases back and answers no farewell: it is closed in the background.
      await withTimeout(this.#clock, isReached ? PATIENCE_MS : CLOSING_MS, () => this.#store.close())
    } catch (err) {
      const context = { err, store: this.name }
      if (isReached) this.#logger.warn(context, 'the store did not close')
      else this.#logger.debug(context, 'the store did not close')
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #admit(commit: boolean): Ticket | undefined {
    if (this.#owed.size >= MAX_SIZES.storePending) return undefined
    // A look proves nothing: a replica that takes no charges answers it.
    if (!commit && this.state !== 'closed') return undefined
    return this.#breaker.admit()
  }

  #await(
    answer: Promise<readonly Verdict[]>,
    ticket: Ticket,
    charges: readonly Charge[],
    options: DecideOptions,
  ): Promise<readonly Verdict[]> {
    return new Promise(resolve => {
      const fallBack = (cause: unknown): void => {
        cancel()
        this.#owed.delete(fallBack)
        this.#breaker.fail(ticket, true, wordsOf(cause))
        resolve(this.#fallbackStore.answer(charges, options))
      }
      const cancel = limitWait(this.#clock, this.#settings.timeoutMs, () =>
        fallBack(lateError(this.#settings.timeoutMs)),
      )
      this.#owed.add(fallBack)
      answer.then(
        verdicts => {
          if (!this.#owed.delete(fallBack)) return this.#undo(charges, verdicts, options.commit)
          cancel()
          if (options.commit) this.#breaker.succeed(ticket, true)
          resolve(verdicts)
        },
        (cause: unknown) => {
          if (this.#owed.has(fallBack)) fallBack(cause)
        },
      )
    })
  }

  /** The fallback has decided meanwhile: what the store took for the message is given back. */
  #undo(charges: readonly Charge[], verdicts: readonly Verdict[], commit: boolean): void {
    if (!commit || this.#closed) return
    if (charges.some((charge, index) => !verdicts[index]?.allowed && charge.soft !== true)) return
    const taken = charges.filter((_, index) => verdicts[index]?.allowed)
    if (taken.length > 0) void this.#giveBack(taken)
  }

  /** Best effort, within the time of a decision. */
  #giveBack(charges: readonly Charge[]): MaybePromise<void> {
    if (this.#refunds >= MAX_SIZES.storePending) return
    try {
      const given = this.#store.refund(charges)
      if (!(given instanceof Promise)) return
      this.#refunds++
      return withTimeout(this.#clock, this.#settings.timeoutMs, () => given)
        .catch((err: unknown) => this.#logger.debug({ err }, 'the store gave nothing back'))
        .finally(() => this.#refunds--)
    } catch (err) {
      this.#logger.debug({ err }, 'the store gave nothing back')
    }
  }

  #scheduleHealth(): () => void {
    const { healthEveryMs } = this.#settings
    const ms = this.state === 'open' ? Math.min(this.#openLookMs, healthEveryMs) : healthEveryMs
    return this.#clock.after(ms, () => void this.#look())
  }

  /** A store that is well again is tried before its time; one that is not has failed once more. */
  async #look(): Promise<void> {
    const ticket = this.state === 'closed' ? this.#breaker.admit() : undefined
    const { ok, detail } = await this.#ask()
    if (this.#closed) return
    if (ok && this.state === 'open') {
      this.#openLookMs = Math.min(2 * this.#openLookMs, LAST_LOOK_MS)
      this.#breaker.tryAgain()
    } else if (!ok && ticket !== undefined) {
      this.#breaker.fail(ticket, true, detail ?? 'it says it is not well')
    } else if (!ok) this.#hear(detail)
    this.#reschedule()
  }

  #reschedule(): void {
    this.#cancelHealth()
    if (!this.#closed) this.#cancelHealth = this.#scheduleHealth()
  }

  async #ask(): Promise<StoreHealth> {
    try {
      return await withTimeout(this.#clock, this.#settings.timeoutMs, () => this.#store.health())
    } catch (cause) {
      return { ok: false, detail: wordsOf(cause) }
    }
  }

  #turned(state: BreakerState, detail: string | undefined): void {
    const { name: store } = this
    const context = { store, state, fallback: this.fallback }
    if (state === 'open') this.#causes.report(detail, 'the store is out of reach, the fallback decides')
    else if (state === 'closed') {
      this.#causes.clear()
      this.#openLookMs = FIRST_LOOK_MS
      this.#logger.info(context, 'the store decides again')
    } else this.#logger.debug(context, 'the store is tried')
    this.#reschedule()
    const event: StoreState = { kind: 'state', store, state, ok: state === 'closed' }
    this.#tell(detail === undefined ? event : { ...event, detail })
  }

  /** The cause may change while the store is out of reach: a server that was down comes back and refuses the password. */
  #hear(detail: string | undefined): void {
    if (this.state !== 'open' || detail === undefined) return
    if (this.#causes.isNew(detail)) this.#turned('open', detail)
    else this.#causes.last = detail
  }

  #tell(event: StoreEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (err) {
        this.#logger.error({ err }, 'a listener threw')
      }
    }
  }
}
