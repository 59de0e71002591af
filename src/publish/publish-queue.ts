import { hashLongPart } from '../core/hash-long-part.ts'
import { LinkedList } from '../core/linked-list.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { MOST_URGENT } from '../outcomes/read-priority.ts'
import type { PublishEntry } from './publish-entry.ts'

/** Message to drop if the queue is full: the newest or the oldest of the lowest priority. */
export type Overflow = 'newest' | 'oldest'

export interface PublishQueueBounds {
  readonly maxMessages: number
  readonly maxBytes: number
  readonly overflow: Overflow
}

/** Messages that wait together, with a list for each rank. The partition sleeps while a rule refuses all of them. */
export class QueuePartition<C> {
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

/**
 * Messages that wait to be published, in order of rank and arrival, bounded in messages and bytes. Messages that a
 * rule holds back for a key wait in a partition of their own, so that they do not block the others.
 */
export class PublishQueue<C> {
  readonly bounds: PublishQueueBounds
  count = 0
  /** Bytes of payloads and topics. */
  bytes = 0
  /** Messages not yet decided. */
  readonly undecided = new QueuePartition<C>()
  /** Partitions by rule, then by key. */
  readonly #held = new Map<string, Map<string, QueuePartition<C>>>()
  readonly #partitions = new Set<QueuePartition<C>>([this.undecided])
  /** Partitions that do not sleep. Why: a message must not cost a look at each key that is held back. */
  readonly #awake = new Set<QueuePartition<C>>([this.undecided])
  readonly #perRank: number[] = Array.from({ length: MOST_URGENT + 1 }, () => 0)
  /** Waiting messages that keep only the latest, by topic. */
  readonly #latest = new Map<string, PublishEntry<C>>()

  constructor(bounds: PublishQueueBounds) {
    this.bounds = bounds
  }

  /** Rules that hold messages back. */
  get rules(): Iterable<string> {
    return this.#held.keys()
  }

  get hasHeld(): boolean {
    return this.#held.size > 0
  }

  /** Returns the waiting `latest` message of a topic. */
  latestOf(topic: string): PublishEntry<C> | undefined {
    return this.#latest.get(hashLongPart(topic))
  }

  partitionOf(rule: string, key: string): QueuePartition<C> | undefined {
    return this.#held.get(rule)?.get(key)
  }

  /** Returns true if a message may grow by this many bytes when it replaces another. */
  canGrow(bytes: number): boolean {
    return this.bytes + bytes <= this.bounds.maxBytes
  }

  /** Replaces a message. The new one takes the position and rank of the old one. */
  replace(older: PublishEntry<C>, entry: PublishEntry<C>): void {
    const { list } = older
    this.#updateCounts(older, -1)
    entry.order = older.order
    entry.rank = older.rank
    list!.replace(older, entry)
    older.list = undefined
    entry.list = list
    this.#updateCounts(entry, 1)
  }

  /**
   * Returns the entry to remove so that a newcomer finds room, `newcomer` if it must go itself, or undefined if there is
   * room. Call it again after each removal.
   */
  victimFor(newcomer: PublishEntry<C>): PublishEntry<C> | 'newcomer' | undefined {
    const { maxMessages, maxBytes, overflow } = this.bounds
    if (bytesOf(newcomer) > maxBytes) return 'newcomer'
    if (this.count < maxMessages && this.bytes + bytesOf(newcomer) <= maxBytes) return undefined
    const rank = this.#perRank.findIndex(count => count > 0)
    if (rank < 0) return undefined
    const canEvict = overflow === 'oldest' ? rank <= newcomer.rank : rank < newcomer.rank
    return canEvict ? this.#outermost(rank, overflow) : 'newcomer'
  }

  add(entry: PublishEntry<C>, partition: QueuePartition<C> = this.undecided): void {
    this.#updateCounts(entry, 1)
    entry.list = partition.lists[entry.rank]!
    entry.list.append(entry)
  }

  /** Puts an entry back as the first of its rank after an attempt without success. */
  putBack(entry: PublishEntry<C>, partition: QueuePartition<C> = this.undecided): void {
    this.#updateCounts(entry, 1)
    entry.list = partition.lists[entry.rank]!
    entry.list.prepend(entry)
  }

  remove(entry: PublishEntry<C>): void {
    entry.list?.remove(entry)
    entry.list = undefined
    this.#updateCounts(entry, -1)
  }

  /** Raises the rank of an entry. It becomes the last of that rank. */
  raise(entry: PublishEntry<C>, rank: number): void {
    if (rank <= entry.rank) return
    this.remove(entry)
    entry.rank = rank
    this.add(entry)
  }

  /** Returns the partition of a rule and key, or undefined if there are too many. All messages must wait then. */
  getOrCreatePartition(rule: string, key: string): QueuePartition<C> | undefined {
    const known = this.partitionOf(rule, key)
    if (known !== undefined) return known
    if (this.#partitions.size > MAX_SIZES.partitionsPerPublisher) return undefined
    const keys = this.#held.get(rule) ?? new Map<string, QueuePartition<C>>()
    this.#held.set(rule, keys)
    const partition = new QueuePartition<C>(rule, key)
    keys.set(key, partition)
    this.#partitions.add(partition)
    this.#awake.add(partition)
    return partition
  }

  /** Removes an empty partition. */
  removePartition(partition: QueuePartition<C>): void {
    if (partition.rule === undefined) return
    partition.cancelSleep?.()
    partition.cancelSleep = undefined
    this.#partitions.delete(partition)
    this.#awake.delete(partition)
    const keys = this.#held.get(partition.rule)
    keys?.delete(partition.key)
    if (keys?.size === 0) this.#held.delete(partition.rule)
  }

  /** Lets a partition sleep until `wake` is called. `cancelSleep` cancels the timer of that call. */
  putToSleep(partition: QueuePartition<C>, cancelSleep: () => void): void {
    partition.cancelSleep?.()
    partition.cancelSleep = cancelSleep
    this.#awake.delete(partition)
  }

  wake(partition: QueuePartition<C>): void {
    partition.cancelSleep?.()
    partition.cancelSleep = undefined
    this.#awake.add(partition)
  }

  /** Wakes all partitions. */
  wakeAll(): void {
    for (const partition of this.#partitions) this.wake(partition)
  }

  /** Removes all partitions and their timers. */
  removeAllPartitions(): void {
    for (const partition of this.#partitions) this.removePartition(partition)
  }

  /** Returns the next entry to send, with its partition. The highest rank goes first, then the earliest. */
  next(): { readonly entry: PublishEntry<C>; readonly partition: QueuePartition<C> } | undefined {
    let next: { readonly entry: PublishEntry<C>; readonly partition: QueuePartition<C> } | undefined
    for (const partition of this.#awake) {
      const entry = partition.first()
      if (entry === undefined) {
        this.removePartition(partition)
        continue
      }
      if (next === undefined || precedes(entry, next.entry)) next = { entry, partition }
    }
    return next
  }

  /** Iterates over all entries by partition and rank. Entries may be removed meanwhile. */
  *entries(): Generator<PublishEntry<C>> {
    for (const partition of [...this.#partitions]) {
      for (const list of partition.lists) {
        for (let entry = list.first; entry !== undefined; ) {
          const { next } = entry
          yield entry
          entry = next
        }
      }
    }
  }

  /**
   * Removes entries from before `sinceMs`, except `latest` ones. Returns the time of the oldest remaining entry, or
   * `Infinity` if none remains.
   */
  expire(sinceMs: number, onExpired: (entry: PublishEntry<C>) => void): number {
    let oldestMs = Infinity
    for (const partition of this.#partitions) {
      for (const { first } of partition.lists) {
        for (let entry = first; entry !== undefined; ) {
          const { next } = entry
          if (!entry.latest) {
            if (entry.sinceMs >= sinceMs) {
              oldestMs = Math.min(oldestMs, entry.sinceMs)
              break
            }
            this.remove(entry)
            onExpired(entry)
          }
          entry = next
        }
      }
    }
    return oldestMs
  }

  #outermost(rank: number, overflow: Overflow): PublishEntry<C> | undefined {
    let found: PublishEntry<C> | undefined
    for (const partition of this.#partitions) {
      const list = partition.lists[rank]!
      const entry = overflow === 'oldest' ? list.first : list.last
      if (entry === undefined) continue
      const isFurther =
        overflow === 'oldest' ? entry.order < (found?.order ?? Infinity) : entry.order > (found?.order ?? -1)
      if (isFurther) found = entry
    }
    return found
  }

  #updateCounts(entry: PublishEntry<C>, change: 1 | -1): void {
    this.count += change
    this.bytes += change * bytesOf(entry)
    this.#perRank[entry.rank]! += change
    if (!entry.latest) return
    const topic = hashLongPart(entry.message.topic)
    if (change === 1) this.#latest.set(topic, entry)
    else if (this.#latest.get(topic) === entry) this.#latest.delete(topic)
  }
}

function precedes<C>(one: PublishEntry<C>, other: PublishEntry<C>): boolean {
  return one.rank === other.rank ? one.order < other.order : one.rank > other.rank
}

function bytesOf<C>({ message }: PublishEntry<C>): number {
  return message.size + message.topic.length
}
