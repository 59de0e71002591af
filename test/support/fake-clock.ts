import type { Clock } from '../../src/core/clock.ts'

interface Timer {
  atMs: number
  readonly run: () => void
}

/** A clock that stands still until it is told to move. Whole milliseconds since the Unix epoch. */
export class FakeClock implements Clock {
  #nowMs: number
  // In the order they were set, which decides between timers due at the same millisecond.
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

  /** Timers set and neither run nor cancelled. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves time on by `ms`, running what falls due in order of time, each at its own moment; also what those set. */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`advance(${ms}): time moves on by 0 ms or more; set() may go back`)
    const endMs = this.#nowMs + ms
    for (let timer = this.#nextDue(endMs); timer; timer = this.#nextDue(endMs)) {
      this.#timers.delete(timer)
      this.#nowMs = Math.max(this.#nowMs, timer.atMs)
      timer.run()
    }
    this.#nowMs = endMs
  }

  /** As `advance`, and lets what awaits run before and after each timer, so that promises made by timers are settled. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await settle()
    for (let timer = this.#nextDue(endMs); timer; timer = this.#nextDue(endMs)) {
      this.advance(Math.max(0, timer.atMs - this.#nowMs))
      await settle()
    }
    this.advance(Math.max(0, endMs - this.#nowMs))
    await settle()
  }

  /** Sets what the clock shows, also to an earlier time. Runs no timer: their moments move with the clock. */
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

/** Runs the microtasks and what `setImmediate` holds. */
function settle(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
