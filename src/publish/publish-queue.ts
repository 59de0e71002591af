import { hashLongPart } from '../core/bounded-text.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { MOST_URGENT } from '../outcomes/priority.ts'
import type { Entry } from './linked-list.ts'
import { Partition } from './partition.ts'

/** Which one goes when there is no room: of the least urgent the newest, or the oldest. */
export type Overflow = 'newest' | 'oldest'

export interface PublishQueueBounds {
  readonly maxMessages: number
  readonly maxBytes: number
  readonly overflow: Overflow
}

/**
 * All that waits to be published, in the order of ranks and arrival; bounded in messages and bytes. What a rule
 * holds back for a key is set aside on a shelf of its own, so that it keeps nothing else waiting.
 */
export class PublishQueue<C> {
  readonly bounds: PublishQueueBounds
  count = 0
  /** Of payloads and topics. */
  bytes = 0
  /** What nothing is known about yet. */
  readonly open = new Partition<C>()
  /** By rule, then by key. */
  readonly #aside = new Map<string, Map<string, Partition<C>>>()
  #partitions = new Set<Partition<C>>([this.open])
  readonly #perRank: number[] = Array.from({ length: MOST_URGENT + 1 }, () => 0)
  /** What keeps only the newest of its topic. */
  readonly #latest = new Map<string, Entry<C>>()

  constructor(bounds: PublishQueueBounds) {
    this.bounds = bounds
  }

  /** Rules that hold something back. */
  get rules(): Iterable<string> {
    return this.#aside.keys()
  }

  get isSorted(): boolean {
    return this.#aside.size === 0
  }

  /** The one that waits for a topic of which only the newest counts. */
  latestOf(topic: string): Entry<C> | undefined {
    return this.#latest.get(hashLongPart(topic))
  }

  partitionOf(rule: string, key: string): Partition<C> | undefined {
    return this.#aside.get(rule)?.get(key)
  }

  /** Whether this many bytes more find room, if a message takes the place of another. */
  mayGrow(bytes: number): boolean {
    return this.bytes + bytes <= this.bounds.maxBytes
  }

  /** Puts a message in the place of another, whose rank it takes. */
  replace(older: Entry<C>, entry: Entry<C>): void {
    const { row } = older
    this.#note(older, -1)
    entry.order = older.order
    entry.rank = older.rank
    row!.replace(older, entry)
    this.#note(entry, 1)
  }

  /**
   * Who has to go for a newcomer to find room: an entry, the newcomer itself (`newcomer`), or nobody (undefined).
   * To be asked again after each that went.
   */
  victimFor(newcomer: Entry<C>): Entry<C> | 'newcomer' | undefined {
    const { maxMessages, maxBytes, overflow } = this.bounds
    if (bytesOf(newcomer) > maxBytes) return 'newcomer'
    if (this.count < maxMessages && this.bytes + bytesOf(newcomer) <= maxBytes) return undefined
    const rank = this.#perRank.findIndex(count => count > 0)
    if (rank < 0) return undefined
    const gives = overflow === 'oldest' ? rank <= newcomer.rank : rank < newcomer.rank
    return gives ? this.#outermost(rank, overflow) : 'newcomer'
  }

  add(entry: Entry<C>, partition: Partition<C> = this.open): void {
    this.#note(entry, 1)
    partition.rows[entry.rank]!.append(entry)
  }

  /** Puts one back whose turn was in vain: it is the first again. */
  putBack(entry: Entry<C>, partition: Partition<C> = this.open): void {
    this.#note(entry, 1)
    partition.rows[entry.rank]!.prepend(entry)
  }

  remove(entry: Entry<C>): void {
    entry.row?.remove(entry)
    this.#note(entry, -1)
  }

  /** Gives an entry a higher rank. It is the last of that rank. */
  raise(entry: Entry<C>, rank: number): void {
    if (rank <= entry.rank) return
    this.remove(entry)
    entry.rank = rank
    this.add(entry)
  }

  /** A shelf for what a rule holds back for a key; undefined when there are too many: all has to wait then. */
  setUp(rule: string, key: string): Partition<C> | undefined {
    const known = this.partitionOf(rule, key)
    if (known !== undefined) return known
    if (this.#partitions.size > MAX_SIZES.shelvesPerPublisher) return undefined
    const keys = this.#aside.get(rule) ?? new Map<string, Partition<C>>()
    this.#aside.set(rule, keys)
    const partition = new Partition<C>(rule, key)
    keys.set(key, partition)
    this.#partitions.add(partition)
    return partition
  }

  /** Takes an empty shelf down. */
  takeDown(partition: Partition<C>): void {
    if (partition.rule === undefined) return
    partition.cancelSleep?.()
    partition.cancelSleep = undefined
    this.#partitions.delete(partition)
    const keys = this.#aside.get(partition.rule)
    keys?.delete(partition.key)
    if (keys?.size === 0) this.#aside.delete(partition.rule)
  }

  /** Ends the sleep of all shelves. */
  wakeAll(): void {
    for (const partition of this.#partitions) {
      partition.cancelSleep?.()
      partition.cancelSleep = undefined
    }
  }

  /** Takes all shelves down, with their timers. */
  takeAllDown(): void {
    for (const partition of this.#partitions) this.takeDown(partition)
  }

  /** The next to go of all shelves that are awake, and its shelf: the most urgent, of these the first that came. */
  next(): { readonly entry: Entry<C>; readonly partition: Partition<C> } | undefined {
    let next: { readonly entry: Entry<C>; readonly partition: Partition<C> } | undefined
    for (const partition of this.#partitions) {
      if (partition.cancelSleep !== undefined) continue
      const entry = partition.head()
      if (entry === undefined) {
        this.takeDown(partition)
        continue
      }
      if (next === undefined || goesBefore(entry, next.entry)) next = { entry, partition }
    }
    return next
  }

  /** Every entry, by shelf and row; entries may be removed meanwhile. */
  *entries(): Generator<Entry<C>> {
    for (const partition of [...this.#partitions]) {
      for (const row of partition.rows) {
        for (let entry = row.first; entry !== undefined; ) {
          const { next } = entry
          yield entry
          entry = next
        }
      }
    }
  }

  /**
   * Takes out what came before `sinceMs`, but for what keeps only its latest. Answers when the oldest that stays
   * came; `Infinity` where there is none.
   */
  expire(sinceMs: number, out: (entry: Entry<C>) => void): number {
    let oldestMs = Infinity
    for (const partition of this.#partitions) {
      for (const { first } of partition.rows) {
        for (let entry = first; entry !== undefined; ) {
          const { next } = entry
          if (!entry.latest) {
            if (entry.sinceMs >= sinceMs) {
              oldestMs = Math.min(oldestMs, entry.sinceMs)
              break
            }
            this.remove(entry)
            out(entry)
          }
          entry = next
        }
      }
    }
    return oldestMs
  }

  #outermost(rank: number, overflow: Overflow): Entry<C> | undefined {
    let found: Entry<C> | undefined
    for (const partition of this.#partitions) {
      const row = partition.rows[rank]!
      const entry = overflow === 'oldest' ? row.first : row.last
      if (entry === undefined) continue
      const isFurther =
        overflow === 'oldest' ? entry.order < (found?.order ?? Infinity) : entry.order > (found?.order ?? -1)
      if (isFurther) found = entry
    }
    return found
  }

  #note(entry: Entry<C>, by: 1 | -1): void {
    this.count += by
    this.bytes += by * bytesOf(entry)
    this.#perRank[entry.rank]! += by
    if (!entry.latest) return
    const topic = hashLongPart(entry.message.topic)
    if (by === 1) this.#latest.set(topic, entry)
    else if (this.#latest.get(topic) === entry) this.#latest.delete(topic)
  }
}

function goesBefore<C>(one: Entry<C>, other: Entry<C>): boolean {
  return one.rank === other.rank ? one.order < other.order : one.rank > other.rank
}

function bytesOf<C>({ message }: Entry<C>): number {
  return message.size + message.topic.length
}
