import { LinkedList } from '../core/linked-list.ts'
import { MOST_URGENT } from '../outcomes/priority.ts'
import type { PublishEntry } from './publish-entry.ts'

/** Messages that wait together, with a list for each rank. The partition sleeps while a rule refuses all of them. */
export class Partition<C> {
  readonly lists = Array.from({ length: MOST_URGENT + 1 }, () => new LinkedList<PublishEntry<C>>())
  /** Rule and key that hold the messages back. Undefined for messages not yet decided. */
  readonly rule: string | undefined
  readonly key: string
  /** True if the rule keeps only the newest message of each topic. */
  keepsLatest = false
  /** Ends the sleep. Undefined while awake. */
  cancelSleep: (() => void) | undefined

  constructor(rule?: string, key = '') {
    this.rule = rule
    this.key = key
  }

  /** Returns the first message of the highest rank. */
  first(): PublishEntry<C> | undefined {
    for (let rank = MOST_URGENT; rank >= 0; rank--) {
      const entry = this.lists[rank]!.first
      if (entry !== undefined) return entry
    }
    return undefined
  }
}
