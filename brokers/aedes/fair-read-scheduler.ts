import type { Clock } from '../../src/core/clock.ts'

/** Duration of a slice that reads connections over their limits, and of the rest between two slices. */
const SLICE_MS = 2
const SLICE_PAUSE_MS = 1

/** Bounds a slice if the clock does not advance: it is read once for many messages. */
const READS_PER_SLICE = 32

/** Reads a bounded number of bytes of one connection; returns true to be called again. */
export type ReadSome = () => boolean

/**
 * Schedules the reading of connections that are over their limits. They take turns of a few kilobytes and together use
 * at most about two thirds of the event loop, at any speed and number. Other connections are served between the slices.
 */
export class FairReadScheduler {
  readonly #clock: Clock
  #queue = new Set<ReadSome>()
  #isScheduled = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  enqueue(read: ReadSome): void {
    this.#queue.add(read)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#runSlice())
  }

  remove(read: ReadSome): void {
    this.#queue.delete(read)
  }

  #runSlice(): void {
    const startMs = this.#clock.now()
    for (let left = READS_PER_SLICE; left > 0 && this.#clock.now() - startMs < SLICE_MS; left--) {
      // A set keeps the order of insertion: the first has waited longest.
      const [read] = this.#queue
      if (read === undefined) break
      this.#queue.delete(read)
      if (read()) this.#queue.add(read)
    }
    this.#isScheduled = this.#queue.size > 0
    if (this.#isScheduled) this.#clock.after(SLICE_PAUSE_MS, () => this.#runSlice())
  }
}
