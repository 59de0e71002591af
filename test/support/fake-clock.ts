import type { Clock } from '../../src/core/clock.ts'

interface Timer {
  atMs: number
  readonly run: () => void
}

/** A clock whose time changes only by `advance` and `set`. Whole milliseconds since the Unix epoch. */
export class FakeClock implements Clock {
  #nowMs: number
  // In the order they were set. Timers of the same millisecond run in this order.
  readonly #timers = new Set<Timer>()

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs
  }

  now(): number {
    return this.#nowMs
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, ms), run }
    this.#timers.add(timer)
    return () => {
      this.#timers.delete(timer)
    }
  }

  /** Number of timers that have neither run nor been cancelled. */
  get pending(): number {
    return this.#timers.size
  }

  /**
   * Advances the time by `ms`. Runs all timers that become due, in order of their times, and also timers that these set.
   * While a timer runs, the clock shows the time of that timer. Throws RangeError if `ms` is negative.
   */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`advance(${ms}): the time must be 0 ms or more; set() can go back`)
    const endMs = this.#nowMs + ms
    for (let timer = this.#nextDue(endMs); timer; timer = this.#nextDue(endMs)) {
      this.#timers.delete(timer)
      this.#nowMs = Math.max(this.#nowMs, timer.atMs)
      timer.run()
    }
    this.#nowMs = endMs
  }

  /** Like `advance`, and runs pending promise callbacks and `setImmediate` callbacks before and after each timer. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await runPendingCallbacks()
    for (let timer = this.#nextDue(endMs); timer; timer = this.#nextDue(endMs)) {
      this.advance(Math.max(0, timer.atMs - this.#nowMs))
      await runPendingCallbacks()
    }
    this.advance(Math.max(0, endMs - this.#nowMs))
    await runPendingCallbacks()
  }

  /** Sets the time, also to an earlier one. Runs no timer. Every timer keeps its remaining wait. */
  set(ms: number): void {
    const stepMs = ms - this.#nowMs
    this.#nowMs = ms
    for (const timer of this.#timers) timer.atMs += stepMs
  }

  #nextDue(endMs: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.atMs <= endMs && (!next || timer.atMs < next.atMs)) next = timer
    }
    return next
  }
}

/** Runs the microtasks and the callbacks of `setImmediate`. */
function runPendingCallbacks(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
