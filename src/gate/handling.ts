import type { Handled, HandlerStation } from '../chain/handler.ts'
import { type Entry, stationOf } from '../chain/steps.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Dialect, Message } from '../message.ts'
import { matches } from '../topic/pattern.ts'

/** Told of each message a handler is done with. */
export type HandledListener = (message: Message, handled: Handled) => void

interface Place {
  /** Its name, with its number among those of the same name: all nodes of a store know it by that. */
  readonly id: string
  /** Without names of captures. */
  readonly filter: string | undefined
  readonly dialect: Dialect | undefined
  readonly station: HandlerStation
}

/**
 * What handlers do with the messages they are given: consumers tell it, rates by feedback, breakers and whoever listens go by
 * it. While `isHeard` is false nobody does, and nothing need be measured.
 */
export class Handling {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #tellOpened: (breaker: string, key: string, untilMs: number) => void
  #places: readonly Place[] = []
  #listeners: readonly HandledListener[] = []
  #complained = false

  /** `tellOpened` tells the other nodes of a breaker, its key, and until when it is open. */
  constructor(
    clock: Clock,
    logger: Logger,
    tellOpened: (breaker: string, key: string, untilMs: number) => void,
  ) {
    this.#clock = clock
    this.#logger = logger
    this.#tellOpened = tellOpened
  }

  /** Takes over that a breaker is open, as this node or another has found. */
  hear(breaker: string, key: string, untilMs: number): void {
    this.#places.find(({ id }) => id === breaker)?.station.heard?.(key, untilMs)
  }

  /** Whether anyone goes by what is told. */
  isHeard = false

  /** What of the chain goes by it: `feedback`, `breaker`. */
  get names(): readonly string[] {
    return this.#places.map(({ station }) => station.name)
  }

  /** Tells of a message that a handler is done with. Never throws. */
  note(message: Message, handled: Handled): void {
    try {
      for (const { filter, dialect, station } of this.#places) {
        if (filter === undefined || matches(filter, message.topic, dialect)) station.observe(message, handled)
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
    this.#heed()
    return () => {
      this.#listeners = this.#listeners.filter(each => each !== listener)
      this.#heed()
    }
  }

  /** Goes by the chain now in force: what says the same as one before goes on where that stood. */
  follow(entries: readonly Entry[]): void {
    const before = this.#places.map(({ station }) => station)
    const counts = new Map<string, number>()
    this.#places = entries.flatMap(({ pattern, middleware }) => {
      const station = stationOf(middleware)
      if (station?.kind !== 'handler') return []
      const filter = pattern?.levels.join(pattern.dialect === 'mqtt' ? '/' : '.')
      const { name } = station
      const nth = (counts.get(name) ?? 0) + 1
      counts.set(name, nth)
      return [{ id: nth === 1 ? name : `${name} ${nth}`, filter, dialect: pattern?.dialect, station }]
    })
    for (const { station } of this.#places) {
      if (before.includes(station)) continue
      station.attach({
        clock: this.#clock,
        opened: (key, untilMs) => {
          const place = this.#places.find(each => each.station === station)
          if (place !== undefined) this.#tellOpened(place.id, key, untilMs)
        },
      })
      before.some(other => station.inherit(other))
    }
    this.#heed()
  }

  #heed(): void {
    this.isHeard = this.#places.length > 0 || this.#listeners.length > 0
  }
}
