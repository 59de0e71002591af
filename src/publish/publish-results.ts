import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { PublishEntry } from './publish-entry.ts'
import type { Published } from './types.ts'

/** Reports the results of messages and counts them. */
export class PublishResults<C> {
  readonly #clock: Clock
  readonly counts = { sent: 0, dropped: 0, refused: 0, failed: 0 }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  drop(entry: PublishEntry<C>, why: NonNullable<Published['why']>, decision?: Decision): void {
    this.settle(entry, { outcome: 'dropped', why, decision })
  }

  settle(entry: PublishEntry<C>, result: Omit<Published, 'attempts' | 'waitedMs'>): void {
    if (entry.isSettled) return
    entry.isSettled = true
    this.counts[result.outcome]++
    entry.resolve({ ...result, attempts: entry.attempts, waitedMs: this.#clock.now() - entry.sinceMs })
  }
}
