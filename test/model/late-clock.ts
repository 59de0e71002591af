import type { Clock } from '../../src/core/clock.ts'

interface Timer {
  atMs: number
  readonly run: () => void
}

/**
 * A clock that moves by whole jumps: timers that fall due in a jump run at its end, as in a process that slept. So a
 * month takes no longer than a second, however often something is swept.
 */
export class LateClock implements Clock {
  #nowMs: number
  readonly #timers = new Set<Timer>()

  constructor(startMs: number) {
    this.#nowMs = startMs
  }

  now(): number {
    return this.#nowMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, ms), run }
    this.#timers.add(timer)
    return () => {
      this.#timers.delete(timer)
    }
  }

  /** Moves time on and runs each timer that is due once, in the order of their moments. */
  advance(ms: number): void {
    this.#nowMs += ms
    const due = [...this.#timers].filter(({ atMs }) => atMs <= this.#nowMs)
    for (const timer of due.toSorted((a, b) => a.atMs - b.atMs)) {
      if (this.#timers.delete(timer)) timer.run()
    }
  }

  /** Sets what the clock shows to an earlier time. Timers move along: they run after as long as before. */
  stepBack(ms: number): void {
    const stepMs = Math.min(ms, this.#nowMs)
    this.#nowMs -= stepMs
    for (const timer of this.#timers) timer.atMs -= stepMs
  }
}
