import type { Message } from '../core/message.ts'
import type { Published, QueuePlacement } from './types.ts'

/** One message that waits to be published. */
export class Entry<C> {
  readonly message: Message
  /** What the broker's client needs besides. */
  readonly cargo: C
  /** A newer one of its topic supersedes it. */
  latest: boolean
  rank: number
  /** Its place in the queue: that of the message it has superseded, if there is one. */
  order: number
  /** Counts messages in the order of the calls. */
  readonly sequence: number
  /** A newer message of its topic has been sent since, so that it is not sent again. */
  isOutdated = false
  /** Its promise is settled. */
  isSettled = false
  readonly sinceMs: number
  attempts = 0
  /** Attempts that were refused or lost. */
  refusals = 0
  /** Since when no server serves it. */
  unservedSinceMs: number | undefined = undefined
  readonly signal: AbortSignal | undefined
  readonly tell: (published: Published) => void
  row: LinkedList<C> | undefined = undefined
  previous: Entry<C> | undefined = undefined
  next: Entry<C> | undefined = undefined

  constructor(
    message: Message,
    cargo: C,
    { rank, latest, signal }: QueuePlacement,
    order: number,
    sinceMs: number,
    tell: (published: Published) => void,
  ) {
    this.message = message
    this.cargo = cargo
    this.rank = rank
    this.latest = latest
    this.signal = signal
    this.order = order
    this.sequence = order
    this.sinceMs = sinceMs
    this.tell = tell
  }
}

/** Entries in their order, linked both ways: taking any of them costs the same at any length. */
export class LinkedList<C> {
  first: Entry<C> | undefined
  last: Entry<C> | undefined

  append(entry: Entry<C>): void {
    entry.row = this
    entry.previous = this.last
    entry.next = undefined
    if (this.last) this.last.next = entry
    else this.first = entry
    this.last = entry
  }

  prepend(entry: Entry<C>): void {
    entry.row = this
    entry.next = this.first
    entry.previous = undefined
    if (this.first) this.first.previous = entry
    else this.last = entry
    this.first = entry
  }

  /** Puts an entry in the place of another. */
  replace(older: Entry<C>, entry: Entry<C>): void {
    entry.row = this
    entry.previous = older.previous
    entry.next = older.next
    if (entry.previous) entry.previous.next = entry
    else this.first = entry
    if (entry.next) entry.next.previous = entry
    else this.last = entry
    older.row = undefined
    older.previous = undefined
    older.next = undefined
  }

  remove(entry: Entry<C>): void {
    if (entry.previous) entry.previous.next = entry.next
    else this.first = entry.next
    if (entry.next) entry.next.previous = entry.previous
    else this.last = entry.previous
    entry.row = undefined
    entry.previous = undefined
    entry.next = undefined
  }
}
