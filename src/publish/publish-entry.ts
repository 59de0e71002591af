import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Linked, LinkedList } from '../core/linked-list.ts'
import type { Message } from '../core/message.ts'
import type { Published, PublishQueueOptions } from './types.ts'

/** Message that waits to be published. */
export class PublishEntry<C> implements Linked<PublishEntry<C>> {
  readonly message: Message
  /** Data for the broker's client. */
  readonly clientData: C
  /** True if a newer message of its topic supersedes it. */
  latest: boolean
  rank: number
  /** Position in the queue. A message that supersedes another takes its position. */
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
  /** List that it waits in. Undefined if it does not wait. */
  list: LinkedList<PublishEntry<C>> | undefined = undefined
  previous: PublishEntry<C> | undefined = undefined
  next: PublishEntry<C> | undefined = undefined

  constructor(
    message: Message,
    clientData: C,
    { rank, latest, signal }: PublishQueueOptions,
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
