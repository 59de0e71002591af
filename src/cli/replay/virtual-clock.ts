import type { Clock } from '../../core/clock.ts'

/**
 * Duration of a sweep of a store on a virtual clock, in its milliseconds. Why: a day passes in a minute, and frequent sweeps
 * free keys that the next message creates again.
 */
export const VIRTUAL_SWEEP_MS = 3_600_000

interface Timer {
  readonly dueMs: number
  readonly run: () => void
}

/**
 * A clock set to any time, also backwards. Timers run when the time passes them, once per move of any length. Why: a
 * silent year in a capture is then one sweep of a store instead of millions.
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

  /** Sets the time, in whole milliseconds since the epoch, and runs due timers. */
  moveTo(ms: number): void {
    this.#nowMs = ms
    if (ms < this.#nextDueMs) return
    const due = [...this.#timers].filter(timer => timer.dueMs <= ms).sort((a, b) => a.dueMs - b.dueMs)
    for (const timer of due) {
      // An earlier timer may have cancelled it.
      if (this.#timers.delete(timer)) timer.run()
    }
    this.#nextDueMs = Math.min(Infinity, ...[...this.#timers].map(timer => timer.dueMs))
  }
}
