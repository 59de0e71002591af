import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Entry } from './linked-list.ts'
import type { Published } from './types.ts'

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
