import { type Entry, metaOf } from '../chain/routing/plan-steps.ts'
import type { Handled, HandlerMeta } from '../chain/rules/handler-feedback.ts'
import type { InFlightBound, KeyInFlight } from '../chain/rules/in-flight.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { Dialect, Message, Sender } from '../core/message.ts'
import { matches, type Pattern } from '../topic/pattern.ts'

/** Called for each message that a handler has finished. */
export type HandledListener = (message: Message, handled: Handled) => void

/** A running handler that counts against the `inFlight` limits. */
export interface HandlerSlot {
  /** Frees the slot. Call it once, when the handler has ended. */
  leave(): void
}

/** Result of `beginHandler` if a limit has no room. */
export interface HandlersBusy {
  readonly decision: Decision
  /**
   * Calls back when there may be room, with a turn to pass to `beginHandler`. The returned function cancels
   * the wait.
   */
  wait(again: (turn: KeyInFlight) => void): () => void
}

interface Place {
  /** Name, with a number if the name occurs several times. All nodes of a store use the same id. */
  readonly id: string
  /** Pattern without names of captures. */
  readonly filter: string | undefined
  readonly dialect: Dialect | undefined
  readonly pattern: Pattern | undefined
  readonly meta: HandlerMeta
}

/**
 * Results of handlers. Consumers report them; adaptive rates, circuit breakers and listeners use them. While
 * `isUsed` is false, nothing has to be measured.
 */
export class HandlerMonitor {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #tellOpened: (breaker: string, key: string, untilMs: number) => void
  #places: readonly Place[] = []
  #listeners: readonly HandledListener[] = []
  #complained = false
  readonly #senderOf: (message: Message) => Sender
  #bounds: readonly (Place & { readonly bound: InFlightBound })[] = []
  /** True if `inFlight` limits are in force. Each handler then has to call `beginHandler` before it starts. */
  isBounded = false

  /** `shareOpened` reports an open breaker to the other nodes: its id, its key, and its end. */
  constructor(
    clock: Clock,
    logger: Logger,
    tellOpened: (breaker: string, key: string, untilMs: number) => void,
    senderOf: (message: Message) => Sender,
  ) {
    this.#senderOf = senderOf
    this.#clock = clock
    this.#logger = logger
    this.#tellOpened = tellOpened
  }

  /** Applies an open breaker found by this node or another. */
  hear(breaker: string, key: string, untilMs: number): void {
    this.#places.find(({ id }) => id === breaker)?.meta.heard?.(key, untilMs)
  }

  /** True if anything uses the results of handlers. */
  isHeard = false

  /** Names of the entries that use results: `feedback`, `breaker`. */
  get names(): readonly string[] {
    return this.#places.map(({ meta }) => meta.name)
  }

  /** Begins a handler under all `inFlight` limits. If one has no room, begins under none and returns the refusal. */
  enter(message: Message, turn?: KeyInFlight): HandlerSlot | HandlersBusy {
    const taken: (readonly [InFlightBound, string])[] = []
    for (const { bound, filter, dialect, pattern } of this.#bounds) {
      if (filter !== undefined && !matches(filter, message.topic, dialect)) continue
      const key = bound.keyOf(message, this.#senderOf(message), pattern)
      if (!bound.hasRoom(key, turn)) return { decision: bound.refusal, wait: again => bound.wait(key, again) }
      taken.push([bound, key])
    }
    for (const [bound, key] of taken) bound.begin(key)
    return {
      leave() {
        for (const [bound, key] of taken) bound.end(key)
      },
    }
  }

  /** Records the result of a handler. Never throws. */
  note(message: Message, handled: Handled): void {
    try {
      for (const { filter, dialect, meta } of this.#places) {
        if (filter === undefined || matches(filter, message.topic, dialect)) meta.observe(message, handled)
      }
      for (const listener of this.#listeners) listener(message, handled)
    } catch (err) {
      if (this.#complained) return
      this.#complained = true
      this.#logger.error({ err }, 'whoever goes by handlers threw; this is told once')
    }
  }

  /**
   * Runs a handler on a message and records its duration, until its promise has settled, and whether it
   * failed. Returns or throws the same as the handler.
   */
  watch<T>(message: Message, run: () => T): T {
    const beganMs = this.#clock.now()
    const done = (ok: boolean): void =>
      this.note(message, { durationMs: Math.max(0, this.#clock.now() - beganMs), ok })
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
  #rebind(before: readonly HandlerMeta[]): void {
    this.#bounds = this.#places.flatMap(place => {
      const { bound } = place.meta
      return bound === undefined ? [] : [{ ...place, bound }]
    })
    this.isBounded = this.#bounds.length > 0
    const now = new Set(this.#bounds.map(({ bound }) => bound))
    for (const { bound } of before)
      if (bound !== undefined && !now.has(bound) && !bound.isInherited) bound.wakeAll(true)
    for (const bound of now) bound.wakeAll(false)
  }

  /** Follows the chain now in force. An entry with the same settings as before continues with the earlier state. */
  follow(entries: readonly Entry[]): void {
    const before = this.#places.map(({ meta }) => meta)
    const counts = new Map<string, number>()
    this.#places = entries.flatMap(({ pattern, middleware }) => {
      const meta = metaOf(middleware)
      if (meta?.kind !== 'handler') return []
      const filter = pattern?.levels.join(pattern.dialect === 'mqtt' ? '/' : '.')
      const { name } = meta
      const nth = (counts.get(name) ?? 0) + 1
      counts.set(name, nth)
      return [{ id: nth === 1 ? name : `${name} ${nth}`, filter, dialect: pattern?.dialect, pattern, meta }]
    })
    for (const { meta } of this.#places) {
      if (before.includes(meta)) continue
      meta.attach({
        clock: this.#clock,
        opened: (key, untilMs) => {
          const place = this.#places.find(each => each.meta === meta)
          if (place !== undefined) this.#tellOpened(place.id, key, untilMs)
        },
      })
      before.some(other => meta.inherit(other))
    }
    this.#rebind(before)
    this.#updateFlags()
  }

  #updateFlags(): void {
    this.isHeard = this.#places.length > 0 || this.#listeners.length > 0
  }
}
