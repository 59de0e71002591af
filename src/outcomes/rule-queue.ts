import { boundedPart } from '../bounded-part.ts'
import type { Clock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import type { MaybePromise, Message } from '../message.ts'
import { type Flow, Parked } from './flow.ts'
import {
  type HeldLine,
  isIdentified,
  isPassing,
  type LaneKeeper,
  overflow,
  type QueueOwner,
  type ToPark,
} from './holding.ts'
import { Account, LargestHolders } from './largest-holders.ts'
import { Line, type LineKeeper } from './line.ts'
import { Longest } from './longest.ts'
import { MOST_URGENT } from './priority.ts'
import type { QueuePlan } from './queue-plan.ts'
import type { SlicedWork } from './sliced-work.ts'

class OwnerAccount extends Account {
  readonly owner: QueueOwner

  constructor(owner: QueueOwner) {
    super()
    this.owner = owner
  }
}

/** What a rule's queue needs of the guard. */
export interface QueueHost {
  readonly keeper: LaneKeeper
  /** The gate's answer for a message that is parked already. */
  askAgain(entry: Parked): MaybePromise<Decision>
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
export class RuleQueue implements HeldLine, LineKeeper {
  readonly rule: string
  readonly plan: QueuePlan
  readonly lines = new Map<string, Line>()
  held = 0
  heldBytes = 0
  askedVersion = 0
  readonly work: SlicedWork
  readonly #host: QueueHost
  readonly #clock: Clock
  /** In the order they came. */
  readonly #aged = new Set<Parked>()
  readonly #lengths = Array.from({ length: MOST_URGENT + 1 }, () => new Longest())
  /** How much each sender has here, where priority does not decide who gives way. */
  readonly #owners = new Map<QueueOwner, OwnerAccount>()
  readonly #largestOwners = new LargestHolders<OwnerAccount>('messages')
  #cancelExpiry: (() => void) | undefined
  #entering = 0

  constructor(rule: string, plan: QueuePlan, host: QueueHost) {
    this.rule = rule
    this.plan = plan
    this.#host = host
    this.#clock = host.keeper.clock
    this.work = host.keeper.work
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
  park(key: string, arrived: ToPark): void {
    this.#entering++
    try {
      this.#place(key, arrived)
    } finally {
      this.#entering--
      this.#settle()
    }
  }

  #place(key: string, arrived: ToPark): void {
    const { decision, message, lane, after } = arrived
    const { order, rankOf } = this.plan
    const rank = rankOf(message)
    const turn = order === 'latest' ? boundedPart(message.topic) : order === 'arrival' ? '' : lane
    const nowMs = this.#clock.now()
    const sizeBytes = sizeOf(message)
    const older = order === 'latest' ? idle(this.lines.get(key)?.flowOf(turn, rank).last) : undefined
    const fits =
      this.#mayWait(nowMs, decision) &&
      sizeBytes <= this.plan.maxBytes &&
      (older === undefined ? this.#makeRoom(key, turn, rank, arrived) : this.#exchange(older, sizeBytes))
    if (!fits) {
      this.#host.keeper.overflowed()
      arrived.enact(overflow(decision, this.plan.then), message)
      return
    }
    const overtakes = after !== undefined && !after.gone && after.flow.rank < rank
    if (overtakes && isIdentified(message.sender)) this.#raise(after, rank)
    // Making room may have emptied the line there was.
    const known = this.lines.get(key)
    const line = known ?? new Line(key, this, decision)
    this.lines.set(key, line)
    const entry = this.#enter(line.flowOf(turn, rank), arrived, nowMs)
    if (older !== undefined) {
      this.#host.keeper.transfer(older.lane, older.sizeBytes, lane, sizeBytes, message)
      this.#supersede(older)
    }
    if (older === undefined && known === undefined) line.waitFor(entry, decision)
    line.pump()
  }

  /** Asks again about all lines, in slices of their own. */
  askAgain(): void {
    this.work.askAgain(this.lines.values())
  }

  goOn(): void {}

  after(ms: number, run: () => void): () => void {
    return this.#clock.after(ms, run)
  }

  ask(entry: Parked): MaybePromise<Decision> {
    return this.#host.askAgain(entry)
  }

  ownWaitMs(entry: Parked, decision: Decision): number {
    return this.#host.ownWaitMs(this.rule, entry.message, decision)
  }

  mayWait(entry: Parked, decision: Decision): boolean {
    return this.#mayWait(entry.sinceMs, decision)
  }

  release(entry: Parked, decision: Decision): void {
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

  refuse(entry: Parked, decision: Decision): void {
    this.#host.keeper.overflowed()
    this.release(entry, overflow(decision, this.plan.then))
  }

  supersede(entry: Parked): void {
    this.#takeOut(entry)
    this.#enactSuperseded(entry)
  }

  moved(entry: Parked, from: Flow): void {
    this.#measure(from, from.count + 1)
    this.#measure(entry.flow, entry.flow.count - 1)
  }

  emptied(line: Line): void {
    if (this.lines.get(line.key) === line) this.lines.delete(line.key)
    this.#settle()
  }

  /** An empty queue is given up, but not while a message makes room for itself. */
  #settle(): void {
    if (this.lines.size > 0 || this.#entering > 0) return
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
    this.#host.keeper.discarded(discarded)
  }

  #mayWait(sinceMs: number, { retryAfterMs }: Decision): boolean {
    return retryAfterMs < Infinity && this.#clock.now() - sinceMs + retryAfterMs <= this.plan.upToMs
  }

  #makeRoom(key: string, turn: unknown, rank: number, { lane, message }: ToPark): boolean {
    while (!this.#host.keeper.reserve(this, lane, message, sizeOf(message))) {
      const victim =
        this.plan.order === 'priority' ? this.#lowerThan(key, turn, rank) : this.#ofLargestOwner(lane)
      if (victim === undefined) return false
      this.refuse(victim, victim.refusal)
    }
    return true
  }

  /** Where there is no priority: the newest of whoever has most here, unless the newcomer's sender itself has. */
  #ofLargestOwner(lane: QueueOwner): Parked | undefined {
    const largest = this.#largestOwners.largest()
    const own = this.#owners.get(lane)?.messages ?? 0
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
  #lowerThan(key: string, turn: unknown, newcomersRank: number): Parked | undefined {
    const rank = this.#lengths.findIndex(({ length }) => length > 0)
    if (rank < 0 || rank > newcomersRank) return undefined
    const lengths = this.#lengths[rank]!
    const own = this.lines.get(key)?.flowOf(turn, rank).count ?? 0
    if (rank === newcomersRank && own + 1 >= lengths.length) return undefined
    return idle(lengths.any()?.last)
  }

  /** Gives the room of an older message to its successor; where that is too large the older keeps it. */
  #exchange(older: Parked, sizeBytes: number): boolean {
    const growth = sizeBytes - older.sizeBytes
    if (this.heldBytes + growth > this.plan.maxBytes || !this.#host.keeper.grow(growth)) return false
    this.heldBytes += growth
    return true
  }

  #enter(flow: Flow, arrived: ToPark, sinceMs: number): Parked {
    const entry = new Parked(arrived, flow, sizeOf(arrived.message), sinceMs)
    const superseding = idle(flow.last) !== undefined && this.plan.order === 'latest'
    if (!superseding) {
      this.held++
      this.heldBytes += entry.sizeBytes
    }
    entry.lane.addQueued(entry)
    this.#countOwner(entry.lane, 1)
    this.#aged.add(entry)
    flow.line.append(entry)
    this.#measure(flow, flow.count - 1)
    this.#watchAge()
    return entry
  }

  /** Takes a message out; whoever does so enacts it, or counts it. */
  forget(entry: Parked): void {
    const followers = followersOf(entry)
    this.#takeOut(entry)
    unblock(followers)
  }

  #takeOut(entry: Parked): void {
    this.held--
    this.heldBytes -= entry.sizeBytes
    this.#host.keeper.release(this, entry.lane, entry.sizeBytes)
    this.#unlink(entry)
  }

  #unlink(entry: Parked): void {
    const { flow } = entry
    entry.gone = true
    entry.lane.removeQueued(entry)
    this.#countOwner(entry.lane, -1)
    this.#aged.delete(entry)
    flow.line.remove(entry)
    this.#measure(flow, flow.count + 1)
  }

  /** Only where messages are pushed out does it matter who holds most. */
  #measure(flow: Flow, before: number): void {
    if (this.plan.order === 'priority') this.#lengths[flow.rank]!.changed(flow, before)
  }

  /**
   * A message may overtake those of other topics only: older ones of its sender and topic get its rank, in their
   * order. Each is raised once for each rank at the most.
   */
  #raise(newest: Parked, rank: number): void {
    const { line } = newest.flow
    const raised: Parked[] = []
    for (let entry: Parked | undefined = newest; entry; entry = entry.olderOfTopic) {
      if (entry.flow.line === line && entry.flow.rank < rank && !entry.asking) raised.push(entry)
    }
    const to = line.flowOf(newest.flow.key, rank)
    for (const entry of raised.reverse()) line.move(entry, to)
  }

  /** Its room is its successor's already. */
  #supersede(older: Parked): void {
    this.#unlink(older)
    this.#enactSuperseded(older)
  }

  #enactSuperseded(older: Parked): void {
    this.#host.keeper.superseded()
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
export function supersedeAll(newest: Parked): void {
  for (let entry: Parked | undefined = newest; entry; ) {
    const { olderOfTopic }: Parked = entry
    if (entry.isSuperseded) entry.flow.line.queue.supersede(entry)
    entry = olderOfTopic
  }
}

/** The newer messages of a topic up to the first that is not to be superseded; undefined where there are none. */
function followersOf({ newerOfTopic }: Parked): Parked[] | undefined {
  if (newerOfTopic === undefined) return undefined
  const followers: Parked[] = []
  for (let entry: Parked | undefined = newerOfTopic; entry; entry = entry.newerOfTopic) {
    followers.push(entry)
    if (!entry.isSuperseded) break
  }
  return followers
}

function unblock(followers: readonly Parked[] | undefined): void {
  if (followers === undefined) return
  for (const { gone, flow } of followers) if (!gone) flow.line.unblock(flow)
}

/** One that nobody asks about now: a charge under way must not be for a message that is taken out. */
function idle(entry: Parked | undefined): Parked | undefined {
  return entry?.asking === false ? entry : undefined
}

/** Of payload and topic: senders choose both, and either may be large. */
function sizeOf({ size, topic }: Message): number {
  return size + topic.length
}
