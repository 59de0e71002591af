import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { SlicedWork } from '../core/sliced-work.ts'
import { MOST_URGENT } from '../outcomes/priority.ts'
import type { QueuePlan } from '../outcomes/queue-plan.ts'
import { KeyQueue, type KeyQueueHost } from './key-queue.ts'
import { Account, LargestHolders } from './largest-holders.ts'
import { LongestQueue } from './longest-queue.ts'
import { QueuedItem, type SubQueue } from './sub-queue.ts'
import {
  type HeldQueue,
  isIdentified,
  isPassing,
  overflow,
  type QueueOwner,
  type QueueRequest,
  type SenderQueueBudget,
} from './types.ts'

class OwnerAccount extends Account {
  readonly owner: QueueOwner

  constructor(owner: QueueOwner) {
    super()
    this.owner = owner
  }
}

/** Part of a guard that rule queues use. */
export interface RuleQueueHost {
  readonly holdBudget: SenderQueueBudget
  /** Asks the gate again about a queued message. */
  askAgain(entry: QueuedItem): MaybePromise<Decision>
  /** Returns the time for which `rule` alone refuses if it is known at once, else the decision's time. */
  ownWaitMs(rule: string, message: Message, decision: Decision): number
  /** Removes a queue that is empty. */
  removeEmpty(queue: RuleQueue): void
}

/**
 * Messages that one rule holds for its senders, with a queue for each key the rule counts by. Messages, bytes and age
 * are bounded over all keys. Without room, the newest message of the lowest priority goes first; among equals,
 * one of the largest holder, so that no sender crowds out another.
 */
export class RuleQueue implements HeldQueue, KeyQueueHost {
  readonly rule: string
  readonly plan: QueuePlan
  readonly keyQueues = new Map<string, KeyQueue>()
  held = 0
  heldBytes = 0
  askedVersion = 0
  readonly work: SlicedWork
  readonly #host: RuleQueueHost
  readonly #clock: Clock
  /** Messages in order of arrival. */
  readonly #byAge = new Set<QueuedItem>()
  readonly #longestByRank = Array.from({ length: MOST_URGENT + 1 }, () => new LongestQueue())
  /** Amount held by each sender, if `order` is not `priority`. */
  readonly #owners = new Map<QueueOwner, OwnerAccount>()
  readonly #largestOwners = new LargestHolders<OwnerAccount>('messages')
  #cancelExpiry: (() => void) | undefined
  #insertsInProgress = 0

  constructor(rule: string, plan: QueuePlan, host: RuleQueueHost) {
    this.rule = rule
    this.plan = plan
    this.#host = host
    this.#clock = host.holdBudget.clock
    this.work = host.holdBudget.work
  }

  get keepsLatest(): boolean {
    return this.plan.order === 'latest'
  }

  get maxHeld(): number {
    return this.plan.maxMessages
  }

  get maxHeldBytes(): number {
    return this.plan.maxBytes
  }

  /** Adds a message, or refuses it at once if it finds no room or cannot wait. */
  enqueue(key: string, request: QueueRequest): void {
    this.#insertsInProgress++
    try {
      this.#insert(key, request)
    } finally {
      this.#insertsInProgress--
      this.#removeIfEmpty()
    }
  }

  #insert(key: string, request: QueueRequest): void {
    const { decision, message, senderQueue, after } = request
    const { order, rankOf } = this.plan
    const rank = rankOf(message)
    const subQueueKey =
      order === 'latest' ? hashLongPart(message.topic) : order === 'arrival' ? '' : senderQueue
    const nowMs = this.#clock.now()
    const sizeBytes = sizeOf(message)
    const older =
      order === 'latest'
        ? unlessAsking(this.keyQueues.get(key)?.subQueueOf(subQueueKey, rank).last)
        : undefined
    const fits =
      this.#canWait(nowMs, decision) &&
      sizeBytes <= this.plan.maxBytes &&
      (older === undefined
        ? this.#makeRoom(key, subQueueKey, rank, request)
        : this.#transferRoom(older, sizeBytes))
    if (!fits) {
      this.#host.holdBudget.countOverflow()
      request.enact(overflow(decision, this.plan.then), message)
      return
    }
    const overtakes = after !== undefined && !after.isRemoved && after.subQueue.rank < rank
    if (overtakes && isIdentified(message.sender)) this.#raiseRank(after, rank)
    // Making room may have removed the key queue.
    const known = this.keyQueues.get(key)
    const keyQueue = known ?? new KeyQueue(key, this, decision)
    this.keyQueues.set(key, keyQueue)
    const entry = this.#append(keyQueue.subQueueOf(subQueueKey, rank), request, nowMs)
    if (older !== undefined) {
      this.#host.holdBudget.transfer(older.senderQueue, older.sizeBytes, senderQueue, sizeBytes, message)
      this.#supersede(older)
    }
    if (older === undefined && known === undefined) keyQueue.waitFor(entry, decision)
    keyQueue.pump()
  }

  /** Asks again about all key queues, in slices. */
  askAgain(): void {
    this.work.askAgain(this.keyQueues.values())
  }

  goOn(): void {}

  after(ms: number, run: () => void): () => void {
    return this.#clock.after(ms, run)
  }

  ask(entry: QueuedItem): MaybePromise<Decision> {
    return this.#host.askAgain(entry)
  }

  ownWaitMs(entry: QueuedItem, decision: Decision): number {
    return this.#host.ownWaitMs(this.rule, entry.message, decision)
  }

  canWait(entry: QueuedItem, decision: Decision): boolean {
    return this.#canWait(entry.sinceMs, decision)
  }

  release(entry: QueuedItem, decision: Decision): void {
    const older = entry.olderOfTopic
    const followers = followersOf(entry)
    this.#remove(entry)
    if (older !== undefined && isPassing(decision.outcome)) supersedeAll(older)
    try {
      entry.enact(decision, entry.message)
    } finally {
      unblock(followers)
    }
  }

  refuse(entry: QueuedItem, decision: Decision): void {
    this.#host.holdBudget.countOverflow()
    this.release(entry, overflow(decision, this.plan.then))
  }

  supersede(entry: QueuedItem): void {
    this.#remove(entry)
    this.#enactSuperseded(entry)
  }

  recordMove(entry: QueuedItem, from: SubQueue): void {
    this.#recordLength(from, from.count + 1)
    this.#recordLength(entry.subQueue, entry.subQueue.count - 1)
  }

  removeEmpty(keyQueue: KeyQueue): void {
    if (this.keyQueues.get(keyQueue.key) === keyQueue) this.keyQueues.delete(keyQueue.key)
    this.#removeIfEmpty()
  }

  /** Removes an empty queue, but not while a message is being added. */
  #removeIfEmpty(): void {
    if (this.keyQueues.size > 0 || this.#insertsInProgress > 0) return
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
    this.#host.removeEmpty(this)
  }

  flush(decision?: Decision): void {
    let discarded = 0
    for (const entry of [...this.#byAge]) {
      if (entry.isRemoved) continue
      if (decision !== undefined) this.release(entry, decision)
      else {
        this.forget(entry)
        discarded++
      }
    }
    this.#host.holdBudget.countDiscarded(discarded)
  }

  #canWait(sinceMs: number, { retryAfterMs }: Decision): boolean {
    return retryAfterMs < Infinity && this.#clock.now() - sinceMs + retryAfterMs <= this.plan.upToMs
  }

  #makeRoom(
    key: string,
    subQueueKey: unknown,
    rank: number,
    { senderQueue, message }: QueueRequest,
  ): boolean {
    while (!this.#host.holdBudget.reserve(this, senderQueue, message, sizeOf(message))) {
      const victim =
        this.plan.order === 'priority'
          ? this.#newestOfLowestRank(key, subQueueKey, rank)
          : this.#newestOfLargestOwner(senderQueue)
      if (victim === undefined) return false
      this.refuse(victim, victim.refusal)
    }
    return true
  }

  /** Returns the newest message of the largest holder, or undefined if that is the newcomer's sender. */
  #newestOfLargestOwner(senderQueue: QueueOwner): QueuedItem | undefined {
    const largest = this.#largestOwners.largest()
    const own = this.#owners.get(senderQueue)?.messages ?? 0
    if (largest === undefined || largest.messages <= own + 1) return undefined
    return largest.owner.newestIn(this)
  }

  #countOwner(owner: QueueOwner, change: 1 | -1): void {
    if (this.plan.order === 'priority') return
    let account = this.#owners.get(owner)
    if (account === undefined) {
      account = new OwnerAccount(owner)
      this.#owners.set(owner, account)
    }
    account.messages += change
    this.#largestOwners.update(account)
    if (account.messages === 0) this.#owners.delete(owner)
  }

  /** Returns the newest message of the longest sub-queue of the lowest rank, unless that is the newcomer. */
  #newestOfLowestRank(key: string, subQueueKey: unknown, newcomerRank: number): QueuedItem | undefined {
    const rank = this.#longestByRank.findIndex(({ length }) => length > 0)
    if (rank < 0 || rank > newcomerRank) return undefined
    const longest = this.#longestByRank[rank]!
    const own = this.keyQueues.get(key)?.subQueueOf(subQueueKey, rank).count ?? 0
    if (rank === newcomerRank && own + 1 >= longest.length) return undefined
    return unlessAsking(longest.longest()?.last)
  }

  /** Transfers the room of an older message to its successor. Returns false if the successor is too large. */
  #transferRoom(older: QueuedItem, sizeBytes: number): boolean {
    const growth = sizeBytes - older.sizeBytes
    if (this.heldBytes + growth > this.plan.maxBytes || !this.#host.holdBudget.grow(growth)) return false
    this.heldBytes += growth
    return true
  }

  #append(subQueue: SubQueue, request: QueueRequest, sinceMs: number): QueuedItem {
    const entry = new QueuedItem(request, subQueue, sizeOf(request.message), sinceMs)
    const isSuperseding = unlessAsking(subQueue.last) !== undefined && this.plan.order === 'latest'
    if (!isSuperseding) {
      this.held++
      this.heldBytes += entry.sizeBytes
    }
    entry.senderQueue.addQueued(entry)
    this.#countOwner(entry.senderQueue, 1)
    this.#byAge.add(entry)
    subQueue.keyQueue.append(entry)
    this.#recordLength(subQueue, subQueue.count - 1)
    this.#scheduleExpiry()
    return entry
  }

  /** Removes a message. The caller enacts or counts it. */
  forget(entry: QueuedItem): void {
    const followers = followersOf(entry)
    this.#remove(entry)
    unblock(followers)
  }

  #remove(entry: QueuedItem): void {
    this.held--
    this.heldBytes -= entry.sizeBytes
    this.#host.holdBudget.release(this, entry.senderQueue, entry.sizeBytes)
    this.#unlink(entry)
  }

  #unlink(entry: QueuedItem): void {
    const { subQueue } = entry
    entry.isRemoved = true
    entry.senderQueue.removeQueued(entry)
    this.#countOwner(entry.senderQueue, -1)
    this.#byAge.delete(entry)
    subQueue.keyQueue.remove(entry)
    this.#recordLength(subQueue, subQueue.count + 1)
  }

  /** Records the length of a sub-queue. Only `priority` needs it to choose a victim. */
  #recordLength(subQueue: SubQueue, before: number): void {
    if (this.plan.order === 'priority') this.#longestByRank[subQueue.rank]!.update(subQueue, before)
  }

  /**
   * Raises older messages of the same sender and topic to the rank of a newer one, in order. Because a message may
   * overtake only those of other topics. Each is raised at most once for each rank.
   */
  #raiseRank(newest: QueuedItem, rank: number): void {
    const { keyQueue } = newest.subQueue
    const raised: QueuedItem[] = []
    for (let entry: QueuedItem | undefined = newest; entry; entry = entry.olderOfTopic) {
      if (entry.subQueue.keyQueue === keyQueue && entry.subQueue.rank < rank && !entry.isAsking)
        raised.push(entry)
    }
    const to = keyQueue.subQueueOf(newest.subQueue.key, rank)
    for (const entry of raised.reverse()) keyQueue.move(entry, to)
  }

  /** Removes a superseded message. Its successor already has its room. */
  #supersede(older: QueuedItem): void {
    this.#unlink(older)
    this.#enactSuperseded(older)
  }

  #enactSuperseded(older: QueuedItem): void {
    this.#host.holdBudget.countSuperseded()
    older.enact({ ...overflow(older.refusal, 'drop'), reason: 'superseded' }, older.message)
  }

  #scheduleExpiry(): void {
    if (this.#cancelExpiry !== undefined || this.plan.upToMs === Infinity) return
    const [oldest] = this.#byAge
    if (oldest === undefined) return
    const remainingMs = oldest.sinceMs + this.plan.upToMs - this.#clock.now()
    this.#cancelExpiry = this.#clock.after(Math.max(1, remainingMs), () => {
      this.#cancelExpiry = undefined
      try {
        for (const entry of [...this.#byAge]) {
          if (this.#clock.now() - entry.sinceMs < this.plan.upToMs) break
          if (!entry.isRemoved) this.refuse(entry, entry.refusal)
        }
      } finally {
        this.#scheduleExpiry()
      }
    })
  }
}

/** Removes a message and all older ones of its topic that it supersedes. */
export function supersedeAll(newest: QueuedItem): void {
  for (let entry: QueuedItem | undefined = newest; entry; ) {
    const { olderOfTopic }: QueuedItem = entry
    if (entry.isSuperseded) entry.subQueue.keyQueue.ruleQueue.supersede(entry)
    entry = olderOfTopic
  }
}

/** Returns the newer messages of a topic up to the first that is not superseded, or undefined if there are none. */
function followersOf({ newerOfTopic }: QueuedItem): QueuedItem[] | undefined {
  if (newerOfTopic === undefined) return undefined
  const followers: QueuedItem[] = []
  for (let entry: QueuedItem | undefined = newerOfTopic; entry; entry = entry.newerOfTopic) {
    followers.push(entry)
    if (!entry.isSuperseded) break
  }
  return followers
}

function unblock(followers: readonly QueuedItem[] | undefined): void {
  if (followers === undefined) return
  for (const { isRemoved, subQueue } of followers) if (!isRemoved) subQueue.keyQueue.unblock(subQueue)
}

/** Returns the message unless the gate is being asked about it. Why: its charge must not be for a removed message. */
function unlessAsking(entry: QueuedItem | undefined): QueuedItem | undefined {
  return entry?.isAsking === false ? entry : undefined
}

/** Returns the bytes of payload and topic. Both, because senders choose both. */
function sizeOf({ size, topic }: Message): number {
  return size + topic.length
}
