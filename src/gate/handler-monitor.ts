import { type ChainEntry, getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import type { HandlerFeedbackMeta, HandlerResult } from '../chain/rules/handler-feedback-types.ts'
import type { InFlightLimit, KeyInFlight } from '../chain/rules/in-flight-slots.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { Dialect, Message, Sender } from '../core/message.ts'
import { matches, type Pattern } from '../topic/pattern.ts'
import type { HandlerStats } from './gate-stats.ts'

/** Called for each message that a handler has finished. */
export type HandledListener = (message: Message, handled: HandlerResult) => void

/** A running handler that counts against the `inFlight` limits. */
export interface HandlerSlot {
  /** Frees the slot. Call it once, when the handler has ended. */
  release(): void
}

/** Result of `beginHandler` if a limit has no room. */
export interface NoHandlerSlot {
  readonly decision: Decision
  /**
   * Calls back when there may be room, with an argument to pass to `beginHandler`. The returned function cancels
   * the wait.
   */
  wait(onSlotFree: (keyInFlight: KeyInFlight) => void): () => void
}

interface HandlerEntry {
  /** Name, with a number if the name occurs several times. All nodes of a store use the same id. */
  readonly id: string
  /** Pattern without names of captures. */
  readonly filter: string | undefined
  readonly dialect: Dialect | undefined
  readonly pattern: Pattern | undefined
  readonly meta: HandlerFeedbackMeta
}

/**
 * Results of handlers. Consumers report them; adaptive rates, circuit breakers and listeners use them. While
 * `isUsed` is false, nothing has to be measured.
 */
export class HandlerMonitor {
  readonly #clock: Clock
  readonly #logger: Logger
  #entries: readonly HandlerEntry[] = []
  #listeners: readonly HandledListener[] = []
  #hasLoggedError = false
  readonly #senderOf: (message: Message) => Sender
  /** Called when a breaker opens for a key until a time. `breaker` is its id on all nodes. */
  onOpened: (breaker: string, key: string, untilMs: number) => void = () => {}
  #inFlightEntries: readonly (HandlerEntry & { readonly limit: InFlightLimit })[] = []
  /** True if `inFlight` limits are in force. Each handler then has to call `beginHandler` before it starts. */
  hasInFlightLimits = false

  constructor(clock: Clock, logger: Logger, senderOf: (message: Message) => Sender) {
    this.#senderOf = senderOf
    this.#clock = clock
    this.#logger = logger
  }

  /** Applies an open breaker found by this node or another. */
  applyOpened(breaker: string, key: string, untilMs: number): void {
    this.#entries.find(({ id }) => id === breaker)?.meta.applyOpened?.(key, untilMs)
  }

  /** True if anything uses the results of handlers. */
  isUsed = false

  /** Names of the entries that use results: `feedback`, `breaker`. */
  get names(): readonly string[] {
    return this.#entries.map(({ meta }) => meta.name)
  }

  /** Returns the state of each feedback and circuit breaker. */
  stats(): readonly HandlerStats[] {
    return this.#entries
      .filter(({ meta }) => meta.perSecond !== undefined || meta.openKeys !== undefined)
      .map(({ id, meta }) => ({ id, perSecond: meta.perSecond?.(), openKeys: meta.openKeys?.() }))
  }

  /** Begins a handler under all `inFlight` limits. If one has no room, begins under none and returns the refusal. */
  beginHandler(message: Message, keyInFlight?: KeyInFlight): HandlerSlot | NoHandlerSlot {
    const begun: (readonly [InFlightLimit, string])[] = []
    for (const { limit, filter, dialect, pattern } of this.#inFlightEntries) {
      if (filter !== undefined && !matches(filter, message.topic, dialect)) continue
      const key = limit.keyOf(message, this.#senderOf(message), pattern)
      if (!limit.hasRoom(key, keyInFlight))
        return { decision: limit.refusal, wait: onSlotFree => limit.wait(key, onSlotFree) }
      begun.push([limit, key])
    }
    for (const [limit, key] of begun) limit.begin(key)
    return {
      release() {
        for (const [limit, key] of begun) limit.end(key)
      },
    }
  }

  /** Records the result of a handler. Never throws. */
  record(message: Message, handled: HandlerResult): void {
    try {
      for (const { filter, dialect, meta } of this.#entries) {
        if (filter === undefined || matches(filter, message.topic, dialect)) meta.observe(message, handled)
      }
      for (const listener of this.#listeners) listener(message, handled)
    } catch (err) {
      if (this.#hasLoggedError) return
      this.#hasLoggedError = true
      this.#logger.error({ err }, 'a listener of handler results threw; logged once only')
    }
  }

  /**
   * Runs a handler on a message and records its duration, until its promise has settled, and whether it
   * failed. Returns or throws the same as the handler.
   */
  measure<T>(message: Message, run: () => T): T {
    const beganMs = this.#clock.now()
    const done = (ok: boolean): void =>
      this.record(message, { durationMs: Math.max(0, this.#clock.now() - beganMs), ok })
    let result: T
    try {
      result = run()
    } catch (cause) {
      done(false)
      throw cause
    }
    const later = result as { then?: unknown } | null | undefined
    if (typeof later === 'object' && later !== null && typeof later.then === 'function') {
      // Subscribed to once, because some thenables start their work again at each call of `then`.
      const settled = Promise.resolve(later)
      settled.then(
        () => done(true),
        () => done(false),
      )
      return settled as T
    }
    done(true)
    return result
  }

  /** Calls a listener for each message that a handler has finished. The returned function removes it. */
  on(listener: HandledListener): () => void {
    this.#listeners = [...this.#listeners, listener]
    this.#updateFlags()
    return () => {
      this.#listeners = this.#listeners.filter(each => each !== listener)
      this.#updateFlags()
    }
  }

  /** Puts `inFlight` limits in force. Waiting handlers check again, because their limit may have changed or gone. */
  #updateInFlightLimits(previous: readonly HandlerFeedbackMeta[]): void {
    this.#inFlightEntries = this.#entries.flatMap(entry => {
      const { limit } = entry.meta
      return limit === undefined ? [] : [{ ...entry, limit }]
    })
    this.hasInFlightLimits = this.#inFlightEntries.length > 0
    const current = new Set(this.#inFlightEntries.map(({ limit }) => limit.state.value))
    for (const { limit } of previous) if (limit !== undefined && !current.has(limit.state.value)) limit.lift()
    for (const { limit } of this.#inFlightEntries) limit.apply()
  }

  /** Follows the chain now in force. */
  setEntries(entries: readonly ChainEntry[]): void {
    const previous = this.#entries.map(({ meta }) => meta)
    const counts = new Map<string, number>()
    this.#entries = entries.flatMap(({ pattern, middleware }) => {
      const meta = getMiddlewareMeta(middleware)
      if (meta?.kind !== 'handler') return []
      const filter = pattern?.levels.join(pattern.dialect === 'mqtt' ? '/' : '.')
      const { name } = meta
      const nth = (counts.get(name) ?? 0) + 1
      counts.set(name, nth)
      return [{ id: nth === 1 ? name : `${name} ${nth}`, filter, dialect: pattern?.dialect, pattern, meta }]
    })
    for (const { meta } of this.#entries) {
      if (previous.includes(meta)) continue
      meta.attach({
        clock: this.#clock,
        opened: (key, untilMs) => {
          const entry = this.#entries.find(each => each.meta === meta)
          if (entry !== undefined) this.onOpened(entry.id, key, untilMs)
        },
      })
    }
    this.#updateInFlightLimits(previous)
    this.#updateFlags()
  }

  #updateFlags(): void {
    this.isUsed = this.#entries.length > 0 || this.#listeners.length > 0
  }
}
