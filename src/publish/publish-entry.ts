import type { Message } from '../core/message.ts'
import type { Published, QueuePlacement } from './types.ts'

/** Message that waits to be published. */
export class PublishEntry<C> {
  readonly message: Message
  /** Data for the broker's client. */
  readonly clientData: C
  /** True if a newer message of its topic supersedeOlder it. */
  latest: boolean
  rank: number
  /** Position in the queue. A message that supersedeOlder another takes its position. */
  order: number
  /** Number of the publish call. */
  readonly sequence: number
  /** True if a newer message of its topic was sent since. It is then not sent again. */
  isOutdated = false
  /** True if its promise is resolved. */
  isSettled = false
  readonly sinceMs: number
  attempts = 0
  /** Number of attempts that were refused or lost. */
  refusals = 0
  /** Time since which no server serves its topic. */
  unservedSinceMs: number | undefined = undefined
  readonly signal: AbortSignal | undefined
  readonly resolve: (published: Published) => void
  list: EntryList<C> | undefined = undefined
  previous: PublishEntry<C> | undefined = undefined
  next: PublishEntry<C> | undefined = undefined

  constructor(
    message: Message,
    clientData: C,
    { rank, latest, signal }: QueuePlacement,
    order: number,
    sinceMs: number,
    resolve: (published: Published) => void,
  ) {
    this.message = message
    this.clientData = clientData
    this.rank = rank
    this.latest = latest
    this.signal = signal
    this.order = order
    this.sequence = order
    this.sinceMs = sinceMs
    this.resolve = resolve
  }
}

/** Doubly linked list of entries in order. Removing any of them takes constant time. */
export class EntryList<C> {
  first: PublishEntry<C> | undefined
  last: PublishEntry<C> | undefined

  append(entry: PublishEntry<C>): void {
    entry.list = this
    entry.previous = this.last
    entry.next = undefined
    if (this.last) this.last.next = entry
    else this.first = entry
    this.last = entry
  }

  prepend(entry: PublishEntry<C>): void {
    entry.list = this
    entry.next = this.first
    entry.previous = undefined
    if (this.first) this.first.previous = entry
    else this.last = entry
    this.first = entry
  }

  /** Replaces an entry at the same position. */
  replace(older: PublishEntry<C>, entry: PublishEntry<C>): void {
    entry.list = this
    entry.previous = older.previous
    entry.next = older.next
    if (entry.previous) entry.previous.next = entry
    else this.first = entry
    if (entry.next) entry.next.previous = entry
    else this.last = entry
    older.list = undefined
    older.previous = undefined
    older.next = undefined
  }

  remove(entry: PublishEntry<C>): void {
    if (entry.previous) entry.previous.next = entry.next
    else this.first = entry.next
    if (entry.next) entry.next.previous = entry.previous
    else this.last = entry.previous
    entry.list = undefined
    entry.previous = undefined
    entry.next = undefined
  }
}
