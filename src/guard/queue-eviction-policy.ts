import { MOST_URGENT } from '../outcomes/read-priority.ts'
import type { KeyQueueEntry, SubQueue } from './key-queue.ts'
import { HeldAmount, LargestHolders } from './largest-holders.ts'
import type { QueuedLinks, SenderQueuedMessages } from './sender-queued-messages.ts'

/** Message in a rule queue, as counted here. */
interface SharedEntry<E extends SharedEntry<E>> extends KeyQueueEntry<E>, QueuedLinks<E> {
  readonly ruleQueue: object
  readonly queuedMessages: SenderQueuedMessages<E>
  readonly isAsking: boolean
}

/** Amount that one sender queue has in a rule queue. */
class SenderAccount<E extends SharedEntry<E>> extends HeldAmount {
  readonly queuedMessages: SenderQueuedMessages<E>

  constructor(queuedMessages: SenderQueuedMessages<E>) {
    super()
    this.queuedMessages = queuedMessages
  }
}

/**
 * Chooses the message that gives way if a rule queue is full. With ranks, it is the newest message of the longest
 * sub-queue of the lowest rank.
 * Without ranks, it is the newest message of the largest sender. So no sender crowds out another.
 */
export class QueueEvictionPolicy<E extends SharedEntry<E>> {
  readonly #ruleQueue: object
  /** Index: rank. Undefined without ranks. */
  readonly #lengthsByRank: readonly SubQueueLengths<E>[] | undefined
  readonly #senders = new Map<SenderQueuedMessages<E>, SenderAccount<E>>()
  readonly #largestSenders = new LargestHolders<SenderAccount<E>>('messages')

  constructor(ruleQueue: object, hasRanks: boolean) {
    this.#ruleQueue = ruleQueue
    this.#lengthsByRank = hasRanks
      ? Array.from({ length: MOST_URGENT + 1 }, () => new SubQueueLengths<E>())
      : undefined
  }

  /** Counts a message that was added to its sub-queue. */
  add({ queuedMessages, subQueue }: E): void {
    if (this.#lengthsByRank === undefined) this.#countForSender(queuedMessages, 1)
    else this.#lengthsByRank[subQueue.rank]!.update(subQueue, subQueue.count - 1)
  }

  /** Counts a message that was removed from its sub-queue. */
  remove({ queuedMessages, subQueue }: E): void {
    if (this.#lengthsByRank === undefined) this.#countForSender(queuedMessages, -1)
    else this.#lengthsByRank[subQueue.rank]!.update(subQueue, subQueue.count + 1)
  }

  /** Counts a message that was moved from one sub-queue to another. */
  move(from: SubQueue<E>, to: SubQueue<E>): void {
    if (this.#lengthsByRank === undefined) return
    this.#lengthsByRank[from.rank]!.update(from, from.count + 1)
    this.#lengthsByRank[to.rank]!.update(to, to.count - 1)
  }

  /** Returns the message that gives way for a new one, which would join a sub-queue of a length, or undefined. */
  victimFor(queuedMessages: SenderQueuedMessages<E>, newRank: number, subQueueLength: number): E | undefined {
    if (this.#lengthsByRank === undefined) return this.#newestOfLargestSender(queuedMessages)
    const rank = this.#lengthsByRank.findIndex(({ max }) => max > 0)
    if (rank < 0 || rank > newRank) return undefined
    const lengths = this.#lengthsByRank[rank]!
    if (rank === newRank && subQueueLength + 1 >= lengths.max) return undefined
    const victim = lengths.longest()?.last
    return victim?.isAsking === false ? victim : undefined
  }

  /** Returns the newest message of the largest sender, or undefined if that is the new message's sender. */
  #newestOfLargestSender(queuedMessages: SenderQueuedMessages<E>): E | undefined {
    const largest = this.#largestSenders.largest()
    const own = this.#senders.get(queuedMessages)?.messages ?? 0
    if (largest === undefined || largest.messages <= own + 1) return undefined
    let victim = largest.queuedMessages.newest
    while (victim !== undefined && (victim.ruleQueue !== this.#ruleQueue || victim.isAsking))
      victim = victim.older
    return victim
  }

  #countForSender(queuedMessages: SenderQueuedMessages<E>, change: 1 | -1): void {
    let account = this.#senders.get(queuedMessages)
    if (account === undefined) {
      account = new SenderAccount(queuedMessages)
      this.#senders.set(queuedMessages, account)
    }
    account.messages += change
    this.#largestSenders.update(account)
    if (account.messages === 0) this.#senders.delete(queuedMessages)
  }
}

/** Sub-queues indexed by length. Finds a longest one in constant time. */
class SubQueueLengths<E extends SharedEntry<E>> {
  max = 0
  /** Index: length. The sub-queue that reached a length last comes last. */
  readonly #byLength: (Set<SubQueue<E>> | undefined)[] = []

  /** Updates the length of a sub-queue, which was `before`. */
  update(subQueue: SubQueue<E>, before: number): void {
    const previous = this.#byLength[before]
    previous?.delete(subQueue)
    // The array is never shortened. Because growing it again would copy it.
    if (previous?.size === 0) this.#byLength[before] = undefined
    const { count } = subQueue
    if (count > 0) {
      const subQueues = this.#byLength[count]
      if (subQueues === undefined) this.#byLength[count] = new Set([subQueue])
      else subQueues.add(subQueue)
      if (count > this.max) this.max = count
    }
    while (this.max > 0 && this.#byLength[this.max] === undefined) this.max--
  }

  longest(): SubQueue<E> | undefined {
    return this.#byLength[this.max]?.values().next().value
  }
}
