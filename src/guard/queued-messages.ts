import { hashLongPart } from '../core/hash-long-part.ts'
import type { Message, Sender } from '../core/message.ts'
import type { QueuedItem } from './sub-queue.ts'

/**
 * Messages of one sender queue that rule queues hold, in order of arrival and by sender and topic. The messages
 * themselves carry the links, so that adding and removing take constant time.
 */
export class QueuedMessages {
  count = 0
  oldest: QueuedItem | undefined
  newest: QueuedItem | undefined
  readonly #mixesSenders: boolean
  /** Newest message of each topic. The first key is the sender if the queue has several. */
  readonly #topics = new Map<Sender | undefined, Map<string, QueuedItem>>()

  constructor(mixesSenders: boolean) {
    this.#mixesSenders = mixesSenders
  }

  add(entry: QueuedItem): void {
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
  }

  remove(entry: QueuedItem): void {
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
  }

  /** Returns the newest message of the same sender and topic. */
  newestLike({ sender, topic }: Message): QueuedItem | undefined {
    return this.#topics.get(this.#mixesSenders ? sender : undefined)?.get(hashLongPart(topic))
  }

  /** Returns the newest message of the same sender and topic that a later one must follow, not supersede. */
  newestToFollow(message: Message): QueuedItem | undefined {
    let entry = this.newestLike(message)
    while (entry?.isSuperseded) entry = entry.olderOfTopic
    return entry
  }

  #replaceNewest({ sender, topic }: Message, by: QueuedItem | undefined): void {
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
