import type { FleetFault } from './fleet-format.ts'

/** Time in which a device is not connected, in milliseconds since the epoch. */
export interface Outage {
  readonly startMs: number
  readonly endMs: number
  /** True: messages of this time are sent after it. */
  readonly isFlushed: boolean
  readonly flushEveryMs: number
}

const DEFAULT_FLUSH_EVERY_MS = 1

/** Outages of one device. A fault with `every` and without `at` begins at a random time. */
export class Outages {
  readonly #faults: readonly FleetFault[]
  readonly #firstMs: readonly number[]

  constructor(faults: readonly FleetFault[], startMs: number, random: () => number) {
    this.#faults = faults
    this.#firstMs = faults.map(({ at, every }) => startMs + Math.floor(at ?? random() * (every ?? 0)))
  }

  /** Returns the first outage that begins at or after a time. */
  next(afterMs: number): Outage | undefined {
    let first: Outage | undefined
    this.#faults.forEach(({ every, disconnect, then, flushEvery }, index) => {
      const firstMs = this.#firstMs[index]!
      const startMs =
        every === undefined ? firstMs : firstMs + every * Math.max(0, Math.ceil((afterMs - firstMs) / every))
      if (startMs < afterMs || (first !== undefined && first.startMs <= startMs)) return
      first = {
        startMs,
        endMs: startMs + disconnect,
        isFlushed: then !== 'forget',
        flushEveryMs: flushEvery ?? DEFAULT_FLUSH_EVERY_MS,
      }
    })
    return first
  }
}
