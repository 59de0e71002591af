import { type Entry, metaOf } from '../chain/routing/plan-steps.ts'
import type { Handled, HandlerMeta } from '../chain/rules/handler-feedback.ts'
import type { InFlightBound, KeyInFlight } from '../chain/rules/in-flight.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { Dialect, Message, Sender } from '../core/message.ts'
import { matches, type Pattern } from '../topic/pattern.ts'

/** Told of each message a handler is done with. */
export type HandledListener = (message: Message, handled: Handled) => void

/** A handler that has begun under limits of handlers at work. */
export interface HandlerSlot {
  /** It has ended. To be called once. */
  leave(): void
}

/** A limit of handlers at work has no room. */
export interface HandlersBusy {
  readonly decision: Decision
  /** Calls back with a turn, to be given to `enter`, when there may be room; the returned function ends the wait. */
  wait(again: (turn: KeyInFlight) => void): () => void
}

interface Place {
  /** Its name, with its number among those of the same name: all nodes of a store know it by that. */
  readonly id: string
  /** Without names of captures. */
  readonly filter: string | undefined
  readonly dialect: Dialect | undefined
  readonly pattern: Pattern | undefined
  readonly meta: HandlerMeta
}

/**
 * What handlers do with the messages they are given: consumers tell it, rates by feedback, breakers and whoever listens go by
 * it. While `isHeard` is false nobody does, and nothing need be measured.
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
  /** Whether limits of handlers at work are in force: then each handler has to `enter` before it begins. */
  isBounded = false

  /** `tellOpened` tells the other nodes of a breaker, its key, and until when it is open. */
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

  /** Takes over that a breaker is open, as this node or another has found. */
  hear(breaker: string, key: string, untilMs: number): void {
    this.#places.find(({ id }) => id === breaker)?.meta.heard?.(key, untilMs)
  }

  /** Whether anyone goes by what is told. */
  isHeard = false

  /** What of the chain goes by it: `feedback`, `breaker`. */
  get names(): readonly string[] {
    return this.#places.map(({ meta }) => meta.name)
  }

  /** Begins a handler under all limits of handlers at work, or under none and says which has no room. */
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

  /** Tells of a message that a handler is done with. Never throws. */
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
   * Runs a handler on a message and tells how long it took, until what it returned is settled, and whether it failed. Gives
   * back what it returned, or throws what it threw.
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
      // Asked for its result once, whatever kind of thenable it is: some begin their work anew each time.
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

  /** Calls a listener for each message a handler is done with; the returned function ends it. */
  on(listener: HandledListener): () => void {
    this.#listeners = [...this.#listeners, listener]
    this.#updateFlags()
    return () => {
      this.#listeners = this.#listeners.filter(each => each !== listener)
      this.#updateFlags()
    }
  }

  /** Puts the limits of handlers at work in force. What waits is asked again: its limit may be another, or gone. */
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

  /** Goes by the chain now in force: what says the same as one before goes on where that stood. */
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
