import { MOST_URGENT } from '../outcomes/priority.ts'
import { type Entry, LinkedList } from './linked-list.ts'

/** What waits together: a row for each rank. It may sleep, when a rule refuses all of it. */
export class Partition<C> {
  readonly rows: readonly LinkedList<C>[] = Array.from({ length: MOST_URGENT + 1 }, () => new LinkedList<C>())
  /** The rule and the key that hold it back; undefined of what nothing is known about yet. */
  readonly rule: string | undefined
  readonly key: string
  /** The rule keeps the newest of each topic. */
  keepsLatest = false
  /** Ends its sleep; undefined while it is awake. */
  cancelSleep: (() => void) | undefined

  constructor(rule?: string, key = '') {
    this.rule = rule
    this.key = key
  }

  /** The next to go: the most urgent, of these the first. */
  head(): Entry<C> | undefined {
    for (let rank = MOST_URGENT; rank >= 0; rank--) {
      const { first } = this.rows[rank]!
      if (first !== undefined) return first
    }
    return undefined
  }
}
