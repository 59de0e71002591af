import type { Clock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import type { Published } from './published.ts'
import type { Entry } from './row.ts'

/** Tells what became of messages, and counts it. */
export class PublishResults<C> {
  readonly #clock: Clock
  readonly counts = { sent: 0, dropped: 0, refused: 0, failed: 0 }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  drop(entry: Entry<C>, why: NonNullable<Published['why']>, decision?: Decision): void {
    this.settle(entry, { outcome: 'dropped', why, ...(decision && { decision }) })
  }

  settle(entry: Entry<C>, end: Omit<Published, 'attempts' | 'waitedMs'>): void {
    if (entry.isSettled) return
    entry.isSettled = true
    this.counts[end.outcome]++
    entry.tell({ ...end, attempts: entry.attempts, waitedMs: this.#clock.now() - entry.sinceMs })
  }
}
