import { hashLongPart } from '../core/hash-long-part.ts'
import type { Message, Sender } from '../core/message.ts'
import type { HeldMessageAccount } from './hold-eviction-policy.ts'

/** Links of a queued message: its neighbours among all of its sender queue, and among those of its sender and topic. */
export interface QueuedLinks<E> {
  readonly message: Message
  /** True if a newer message of the topic supersedes it instead of following it. */
  readonly isSuperseded: boolean
  older: E | undefined
  newer: E | undefined
  olderOfTopic: E | undefined
  newerOfTopic: E | undefined
}

/**
 * Messages of one sender queue that rule queues hold, in order of arrival and by sender and topic. The messages
 * themselves carry the links, so that adding and removing take constant time.
 */
export class SenderQueuedMessages<E extends QueuedLinks<E>> {
  count = 0
  oldest: E | undefined
  newest: E | undefined
  /** Account that their room is charged to. */
  readonly account: HeldMessageAccount
  readonly #mixesSenders: boolean
  readonly #onChange: (change: 1 | -1) => void
  /** Newest message of each topic. The first key is the sender if the queue has several. */
  readonly #topics = new Map<Sender | undefined, Map<string, E>>()

  /** `onChange` is called after a message was added (1) or removed (-1). */
  constructor(account: HeldMessageAccount, mixesSenders: boolean, onChange: (change: 1 | -1) => void) {
    this.account = account
    this.#mixesSenders = mixesSenders
    this.#onChange = onChange
  }

  add(entry: E): void {
    this.count++
    entry.older = this.newest
    if (this.newest) this.newest.newer = entry
    else this.oldest = entry
    this.newest = entry
    const { sender, topic } = entry.message
    const owner = this.#mixesSenders ? sender : undefined
    let topics = this.#topics.get(owner)
    if (topics === undefined) {
      topics = new Map()
      this.#topics.set(owner, topics)
    }
    const key = hashLongPart(topic)
    const before = topics.get(key)
    entry.olderOfTopic = before
    if (before) before.newerOfTopic = entry
    topics.set(key, entry)
    this.#onChange(1)
  }

  remove(entry: E): void {
    this.count--
    if (entry.older) entry.older.newer = entry.newer
    else this.oldest = entry.newer
    if (entry.newer) entry.newer.older = entry.older
    else this.newest = entry.older
    const { olderOfTopic, newerOfTopic } = entry
    if (olderOfTopic) olderOfTopic.newerOfTopic = newerOfTopic
    if (newerOfTopic) newerOfTopic.olderOfTopic = olderOfTopic
    else this.#replaceNewest(entry.message, olderOfTopic)
    entry.older = undefined
    entry.newer = undefined
    entry.olderOfTopic = undefined
    entry.newerOfTopic = undefined
    this.#onChange(-1)
  }

  /** Returns the newest message of the same sender and topic. */
  newestLike({ sender, topic }: Message): E | undefined {
    return this.#topics.get(this.#mixesSenders ? sender : undefined)?.get(hashLongPart(topic))
  }

  /** Returns the newest message of the same sender and topic that a later one must follow, not supersede. */
  newestToFollow(message: Message): E | undefined {
    let entry = this.newestLike(message)
    while (entry?.isSuperseded) entry = entry.olderOfTopic
    return entry
  }

  #replaceNewest({ sender, topic }: Message, by: E | undefined): void {
    const owner = this.#mixesSenders ? sender : undefined
    const topics = this.#topics.get(owner)!
    const key = hashLongPart(topic)
    if (by !== undefined) topics.set(key, by)
    else {
      topics.delete(key)
      if (topics.size === 0) this.#topics.delete(owner)
    }
  }
}
