import type { Clock } from '../core/clock.ts'

interface Timer {
  readonly dueMs: number
  readonly run: () => void
}

/**
 * A clock that shows the moment it was last moved to, earlier ones too. What was set by `after` runs when time is
 * moved past it, once for each move however far that goes: a year of silence in a capture is one sweep of a store
 * and not millions.
 */
export class VirtualClock implements Clock {
  #nowMs: number
  readonly #timers = new Set<Timer>()
  #nextDueMs = Infinity

  constructor(startMs = 0) {
    this.#nowMs = startMs
  }

  now(): number {
    return this.#nowMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, ms), run }
    this.#timers.add(timer)
    this.#nextDueMs = Math.min(this.#nextDueMs, timer.dueMs)
    return () => void this.#timers.delete(timer)
  }

  /** Moves time, whole milliseconds since the epoch, and runs what has fallen due. */
  moveTo(ms: number): void {
    this.#nowMs = ms
    if (ms < this.#nextDueMs) return
    const due = [...this.#timers].filter(timer => timer.dueMs <= ms).sort((a, b) => a.dueMs - b.dueMs)
    for (const timer of due) {
      // One that ran before may have cancelled it.
      if (this.#timers.delete(timer)) timer.run()
    }
    this.#nextDueMs = Math.min(Infinity, ...[...this.#timers].map(timer => timer.dueMs))
  }
}
