import type { Decision } from '../core/decision.ts'
import type { Message } from '../core/message.ts'
import type { KeyQueue } from './key-queue.ts'
import { type Ask, type Enact, isIdentified, type QueueOwner, type ToQueue } from './types.ts'

/** One message that a rule holds for its senders. */
export class QueuedItem {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  flow: SubQueue
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** The lane that brought it. */
  readonly senderQueue: QueueOwner
  /** The last answer that held it. */
  refusal: Decision
  /** The gate is being asked about it. */
  asking = false
  /** No longer held; an answer that comes now is ignored. */
  gone = false
  /** Neighbours in its flow. */
  previous: QueuedItem | undefined = undefined
  next: QueuedItem | undefined = undefined
  /** Neighbours among all that its lane has in queues, and among those of its sender and topic. */
  older: QueuedItem | undefined = undefined
  newer: QueuedItem | undefined = undefined
  olderOfTopic: QueuedItem | undefined = undefined
  newerOfTopic: QueuedItem | undefined = undefined

  constructor(arrived: ToQueue, flow: SubQueue, sizeBytes: number, sinceMs: number) {
    this.message = arrived.message
    this.sizeBytes = sizeBytes
    this.sinceMs = sinceMs
    this.flow = flow
    this.enact = arrived.enact
    this.ask = arrived.ask
    this.senderQueue = arrived.senderQueue
    this.refusal = arrived.decision
  }

  /** A newer message of its topic takes its place, instead of following it. */
  get isSuperseded(): boolean {
    return this.flow.keyQueue.keepsLatest
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
    this.flow.keyQueue.forget(this)
  }
}

/**
 * The messages of one line that take their turn together, in the order they came: those of one sender and rank, or
 * of one topic. Linked both ways: taking any of them costs the same at any length.
 */
export class SubQueue {
  readonly keyQueue: KeyQueue
  readonly key: unknown
  readonly rank: number
  first: QueuedItem | undefined
  last: QueuedItem | undefined
  count = 0
  /** Another rule refuses its head until then. */
  cancelSleep: (() => void) | undefined
  /** Its head has to follow an older message of its topic that waits elsewhere. */
  isBlocked = false

  constructor(keyQueue: KeyQueue, key: unknown, rank: number) {
    this.keyQueue = keyQueue
    this.key = key
    this.rank = rank
  }

  append(entry: QueuedItem): void {
    entry.previous = this.last
    if (this.last) this.last.next = entry
    else this.first = entry
    this.last = entry
    this.count++
  }

  remove(entry: QueuedItem): void {
    if (entry.previous) entry.previous.next = entry.next
    else this.first = entry.next
    if (entry.next) entry.next.previous = entry.previous
    else this.last = entry.previous
    entry.previous = undefined
    entry.next = undefined
    this.count--
  }
}
