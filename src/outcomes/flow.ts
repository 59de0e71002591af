import type { Decision } from '../decision.ts'
import type { Message } from '../message.ts'
import { type Ask, type Enact, isIdentified, type QueueOwner, type ToPark } from './holding.ts'
import type { Line } from './line.ts'

/** One message that a rule holds for its senders. */
export class Parked {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  flow: Flow
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** The lane that brought it. */
  readonly lane: QueueOwner
  /** The last answer that held it. */
  refusal: Decision
  /** The gate is being asked about it. */
  asking = false
  /** No longer held; an answer that comes now is ignored. */
  gone = false
  /** Neighbours in its flow. */
  previous: Parked | undefined = undefined
  next: Parked | undefined = undefined
  /** Neighbours among all that its lane has in queues, and among those of its sender and topic. */
  older: Parked | undefined = undefined
  newer: Parked | undefined = undefined
  olderOfTopic: Parked | undefined = undefined
  newerOfTopic: Parked | undefined = undefined

  constructor(arrived: ToPark, flow: Flow, sizeBytes: number, sinceMs: number) {
    this.message = arrived.message
    this.sizeBytes = sizeBytes
    this.sinceMs = sinceMs
    this.flow = flow
    this.enact = arrived.enact
    this.ask = arrived.ask
    this.lane = arrived.lane
    this.refusal = arrived.decision
  }

  /** A newer message of its topic takes its place, instead of following it. */
  get isSuperseded(): boolean {
    return this.flow.line.keepsLatest
  }

  /** Whether an older message of its sender and topic has to go first, whatever their priorities. */
  get hasToFollow(): boolean {
    if (!isIdentified(this.message.sender)) return false
    let older = this.olderOfTopic
    while (older?.isSuperseded) older = older.olderOfTopic
    return older !== undefined
  }

  /** Takes it out of its queue; it is never enacted. */
  forget(): void {
    this.flow.line.forget(this)
  }
}

/**
 * The messages of one line that take their turn together, in the order they came: those of one sender and rank, or
 * of one topic. Linked both ways: taking any of them costs the same at any length.
 */
export class Flow {
  readonly line: Line
  readonly key: unknown
  readonly rank: number
  first: Parked | undefined
  last: Parked | undefined
  count = 0
  /** Another rule refuses its head until then. */
  cancelSleep: (() => void) | undefined
  /** Its head has to follow an older message of its topic that waits elsewhere. */
  isBlocked = false

  constructor(line: Line, key: unknown, rank: number) {
    this.line = line
    this.key = key
    this.rank = rank
  }

  append(entry: Parked): void {
    entry.previous = this.last
    if (this.last) this.last.next = entry
    else this.first = entry
    this.last = entry
    this.count++
  }

  remove(entry: Parked): void {
    if (entry.previous) entry.previous.next = entry.next
    else this.first = entry.next
    if (entry.next) entry.next.previous = entry.previous
    else this.last = entry.previous
    entry.previous = undefined
    entry.next = undefined
    this.count--
  }
}
