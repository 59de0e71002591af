import { hashLongPart } from '../core/bounded-text.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { SlicedWork } from '../core/sliced-work.ts'
import { MOST_URGENT } from '../outcomes/priority.ts'
import type { QueuePlan } from '../outcomes/queue-plan.ts'
import { KeyQueue, type KeyQueueBudget } from './key-queue.ts'
import { Account, LargestHolders } from './largest-holders.ts'
import { LongestQueue } from './longest-queue.ts'
import { QueuedItem, type SubQueue } from './sub-queue.ts'
import {
  type HeldKeyQueue,
  isIdentified,
  isPassing,
  overflow,
  type QueueOwner,
  type SenderQueueBudget,
  type ToQueue,
} from './types.ts'

class OwnerAccount extends Account {
  readonly owner: QueueOwner

  constructor(owner: QueueOwner) {
    super()
    this.owner = owner
  }
}

/** What a rule's queue needs of the guard. */
export interface QueueHost {
  readonly holdBudget: SenderQueueBudget
  /** The gate's answer for a message that is parked already. */
  askAgain(entry: QueuedItem): MaybePromise<Decision>
  /** How long `rule` alone refuses a message, where that can be known at once; else as the decision says. */
  ownWaitMs(rule: string, message: Message, decision: Decision): number
  /** The queue holds nothing any more. */
  emptied(queue: RuleQueue): void
}

/**
 * All that one rule holds for its senders: a line for each key it counts by, and bounds on messages, bytes and age
 * for all of them. Where there is no room the least urgent and newest goes first, of those the one of whoever holds
 * most, so that no sender crowds out another.
 */
export class RuleQueue implements HeldKeyQueue, KeyQueueBudget {
  readonly rule: string
  readonly plan: QueuePlan
  readonly keyQueues = new Map<string, KeyQueue>()
  held = 0
  heldBytes = 0
  askedVersion = 0
  readonly work: SlicedWork
  readonly #host: QueueHost
  readonly #clock: Clock
  /** In the order they came. */
  readonly #aged = new Set<QueuedItem>()
  readonly #lengths = Array.from({ length: MOST_URGENT + 1 }, () => new LongestQueue())
  /** How much each sender has here, where priority does not decide who gives way. */
  readonly #owners = new Map<QueueOwner, OwnerAccount>()
  readonly #largestOwners = new LargestHolders<OwnerAccount>('messages')
  #cancelExpiry: (() => void) | undefined
  #entering = 0

  constructor(rule: string, plan: QueuePlan, host: QueueHost) {
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

  /** Takes a message in, or refuses it at once where it finds no room or cannot wait. */
  park(key: string, arrived: ToQueue): void {
    this.#entering++
    try {
      this.#place(key, arrived)
    } finally {
      this.#entering--
      this.#settle()
    }
  }

  #place(key: string, arrived: ToQueue): void {
    const { decision, message, senderQueue, after } = arrived
    const { order, rankOf } = this.plan
    const rank = rankOf(message)
    const turn = order === 'latest' ? hashLongPart(message.topic) : order === 'arrival' ? '' : senderQueue
    const nowMs = this.#clock.now()
    const sizeBytes = sizeOf(message)
    const older = order === 'latest' ? idle(this.keyQueues.get(key)?.flowOf(turn, rank).last) : undefined
    const fits =
      this.#mayWait(nowMs, decision) &&
      sizeBytes <= this.plan.maxBytes &&
      (older === undefined ? this.#makeRoom(key, turn, rank, arrived) : this.#exchange(older, sizeBytes))
    if (!fits) {
      this.#host.holdBudget.overflowed()
      arrived.enact(overflow(decision, this.plan.then), message)
      return
    }
    const overtakes = after !== undefined && !after.gone && after.flow.rank < rank
    if (overtakes && isIdentified(message.sender)) this.#raise(after, rank)
    // Making room may have emptied the line there was.
    const known = this.keyQueues.get(key)
    const keyQueue = known ?? new KeyQueue(key, this, decision)
    this.keyQueues.set(key, keyQueue)
    const entry = this.#enter(keyQueue.flowOf(turn, rank), arrived, nowMs)
    if (older !== undefined) {
      this.#host.holdBudget.transfer(older.senderQueue, older.sizeBytes, senderQueue, sizeBytes, message)
      this.#supersede(older)
    }
    if (older === undefined && known === undefined) keyQueue.waitFor(entry, decision)
    keyQueue.pump()
  }

  /** Asks again about all lines, in slices of their own. */
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

  mayWait(entry: QueuedItem, decision: Decision): boolean {
    return this.#mayWait(entry.sinceMs, decision)
  }

  release(entry: QueuedItem, decision: Decision): void {
    const older = entry.olderOfTopic
    const followers = followersOf(entry)
    this.#takeOut(entry)
    if (older !== undefined && isPassing(decision.outcome)) supersedeAll(older)
    try {
      entry.enact(decision, entry.message)
    } finally {
      unblock(followers)
    }
  }

  refuse(entry: QueuedItem, decision: Decision): void {
    this.#host.holdBudget.overflowed()
    this.release(entry, overflow(decision, this.plan.then))
  }

  supersede(entry: QueuedItem): void {
    this.#takeOut(entry)
    this.#enactSuperseded(entry)
  }

  moved(entry: QueuedItem, from: SubQueue): void {
    this.#measure(from, from.count + 1)
    this.#measure(entry.flow, entry.flow.count - 1)
  }

  emptied(keyQueue: KeyQueue): void {
    if (this.keyQueues.get(keyQueue.key) === keyQueue) this.keyQueues.delete(keyQueue.key)
    this.#settle()
  }

  /** An empty queue is given up, but not while a message makes room for itself. */
  #settle(): void {
    if (this.keyQueues.size > 0 || this.#entering > 0) return
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
    this.#host.emptied(this)
  }

  flush(decision?: Decision): void {
    let discarded = 0
    for (const entry of [...this.#aged]) {
      if (entry.gone) continue
      if (decision !== undefined) this.release(entry, decision)
      else {
        this.forget(entry)
        discarded++
      }
    }
    this.#host.holdBudget.discarded(discarded)
  }

  #mayWait(sinceMs: number, { retryAfterMs }: Decision): boolean {
    return retryAfterMs < Infinity && this.#clock.now() - sinceMs + retryAfterMs <= this.plan.upToMs
  }

  #makeRoom(key: string, turn: unknown, rank: number, { senderQueue, message }: ToQueue): boolean {
    while (!this.#host.holdBudget.reserve(this, senderQueue, message, sizeOf(message))) {
      const victim =
        this.plan.order === 'priority' ? this.#lowerThan(key, turn, rank) : this.#ofLargestOwner(senderQueue)
      if (victim === undefined) return false
      this.refuse(victim, victim.refusal)
    }
    return true
  }

  /** Where there is no priority: the newest of whoever has most here, unless the newcomer's sender itself has. */
  #ofLargestOwner(senderQueue: QueueOwner): QueuedItem | undefined {
    const largest = this.#largestOwners.largest()
    const own = this.#owners.get(senderQueue)?.messages ?? 0
    if (largest === undefined || largest.messages <= own + 1) return undefined
    return largest.owner.newestIn(this)
  }

  #countOwner(owner: QueueOwner, by: 1 | -1): void {
    if (this.plan.order === 'priority') return
    let account = this.#owners.get(owner)
    if (account === undefined) {
      account = new OwnerAccount(owner)
      this.#owners.set(owner, account)
    }
    account.messages += by
    this.#largestOwners.measure(account)
    if (account.messages === 0) this.#owners.delete(owner)
  }

  /** The newest of the longest flow of the lowest rank, unless the newcomer itself is that. */
  #lowerThan(key: string, turn: unknown, newcomersRank: number): QueuedItem | undefined {
    const rank = this.#lengths.findIndex(({ length }) => length > 0)
    if (rank < 0 || rank > newcomersRank) return undefined
    const lengths = this.#lengths[rank]!
    const own = this.keyQueues.get(key)?.flowOf(turn, rank).count ?? 0
    if (rank === newcomersRank && own + 1 >= lengths.length) return undefined
    return idle(lengths.any()?.last)
  }

  /** Gives the room of an older message to its successor; where that is too large the older keeps it. */
  #exchange(older: QueuedItem, sizeBytes: number): boolean {
    const growth = sizeBytes - older.sizeBytes
    if (this.heldBytes + growth > this.plan.maxBytes || !this.#host.holdBudget.grow(growth)) return false
    this.heldBytes += growth
    return true
  }

  #enter(flow: SubQueue, arrived: ToQueue, sinceMs: number): QueuedItem {
    const entry = new QueuedItem(arrived, flow, sizeOf(arrived.message), sinceMs)
    const superseding = idle(flow.last) !== undefined && this.plan.order === 'latest'
    if (!superseding) {
      this.held++
      this.heldBytes += entry.sizeBytes
    }
    entry.senderQueue.addQueued(entry)
    this.#countOwner(entry.senderQueue, 1)
    this.#aged.add(entry)
    flow.keyQueue.append(entry)
    this.#measure(flow, flow.count - 1)
    this.#watchAge()
    return entry
  }

  /** Takes a message out; whoever does so enacts it, or counts it. */
  forget(entry: QueuedItem): void {
    const followers = followersOf(entry)
    this.#takeOut(entry)
    unblock(followers)
  }

  #takeOut(entry: QueuedItem): void {
    this.held--
    this.heldBytes -= entry.sizeBytes
    this.#host.holdBudget.release(this, entry.senderQueue, entry.sizeBytes)
    this.#unlink(entry)
  }

  #unlink(entry: QueuedItem): void {
    const { flow } = entry
    entry.gone = true
    entry.senderQueue.removeQueued(entry)
    this.#countOwner(entry.senderQueue, -1)
    this.#aged.delete(entry)
    flow.keyQueue.remove(entry)
    this.#measure(flow, flow.count + 1)
  }

  /** Only where messages are pushed out does it matter who holds most. */
  #measure(flow: SubQueue, before: number): void {
    if (this.plan.order === 'priority') this.#lengths[flow.rank]!.changed(flow, before)
  }

  /**
   * A message may overtake those of other topics only: older ones of its sender and topic get its rank, in their
   * order. Each is raised once for each rank at the most.
   */
  #raise(newest: QueuedItem, rank: number): void {
    const { keyQueue } = newest.flow
    const raised: QueuedItem[] = []
    for (let entry: QueuedItem | undefined = newest; entry; entry = entry.olderOfTopic) {
      if (entry.flow.keyQueue === keyQueue && entry.flow.rank < rank && !entry.asking) raised.push(entry)
    }
    const to = keyQueue.flowOf(newest.flow.key, rank)
    for (const entry of raised.reverse()) keyQueue.move(entry, to)
  }

  /** Its room is its successor's already. */
  #supersede(older: QueuedItem): void {
    this.#unlink(older)
    this.#enactSuperseded(older)
  }

  #enactSuperseded(older: QueuedItem): void {
    this.#host.holdBudget.superseded()
    older.enact({ ...overflow(older.refusal, 'drop'), reason: 'superseded' }, older.message)
  }

  #watchAge(): void {
    if (this.#cancelExpiry !== undefined || this.plan.upToMs === Infinity) return
    const [oldest] = this.#aged
    if (oldest === undefined) return
    const leftMs = oldest.sinceMs + this.plan.upToMs - this.#clock.now()
    this.#cancelExpiry = this.#clock.after(Math.max(1, leftMs), () => {
      this.#cancelExpiry = undefined
      try {
        for (const entry of [...this.#aged]) {
          if (this.#clock.now() - entry.sinceMs < this.plan.upToMs) break
          if (!entry.gone) this.refuse(entry, entry.refusal)
        }
      } finally {
        this.#watchAge()
      }
    })
  }
}

/** Takes out a message and all older ones of its topic in whose place a newer one passes. */
export function supersedeAll(newest: QueuedItem): void {
  for (let entry: QueuedItem | undefined = newest; entry; ) {
    const { olderOfTopic }: QueuedItem = entry
    if (entry.isSuperseded) entry.flow.keyQueue.queue.supersede(entry)
    entry = olderOfTopic
  }
}

/** The newer messages of a topic up to the first that is not to be superseded; undefined where there are none. */
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
  for (const { gone, flow } of followers) if (!gone) flow.keyQueue.unblock(flow)
}

/** One that nobody asks about now: a charge under way must not be for a message that is taken out. */
function idle(entry: QueuedItem | undefined): QueuedItem | undefined {
  return entry?.asking === false ? entry : undefined
}

/** Of payload and topic: senders choose both, and either may be large. */
function sizeOf({ size, topic }: Message): number {
  return size + topic.length
}
