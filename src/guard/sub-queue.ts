import type { Decision } from '../core/decision.ts'
import { type Linked, LinkedList } from '../core/linked-list.ts'
import type { Message } from '../core/message.ts'
import type { KeyQueue } from './key-queue.ts'
import { type Ask, type Enact, isIdentified, type QueueOwner, type QueueRequest } from './types.ts'

/** Message in a rule queue. */
export class QueuedItem implements Linked<QueuedItem> {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  subQueue: SubQueue
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** Sender queue that the message came from. */
  readonly senderQueue: QueueOwner
  /** Last refusal that held it. */
  refusal: Decision
  /** True while the gate is being asked about it. */
  isAsking = false
  /** True once it has left the queue. A later answer is ignored. */
  isRemoved = false
  /** Neighbours in its sub-queue. */
  previous: QueuedItem | undefined = undefined
  next: QueuedItem | undefined = undefined
  /** Neighbours among all queued messages of its sender queue, and among those of its sender and topic. */
  older: QueuedItem | undefined = undefined
  newer: QueuedItem | undefined = undefined
  olderOfTopic: QueuedItem | undefined = undefined
  newerOfTopic: QueuedItem | undefined = undefined

  constructor(request: QueueRequest, subQueue: SubQueue, sizeBytes: number, sinceMs: number) {
    this.message = request.message
    this.sizeBytes = sizeBytes
    this.sinceMs = sinceMs
    this.subQueue = subQueue
    this.enact = request.enact
    this.ask = request.ask
    this.senderQueue = request.senderQueue
    this.refusal = request.decision
  }

  /** True if a newer message of its topic supersedes it instead of following it. */
  get isSuperseded(): boolean {
    return this.subQueue.keyQueue.keepsLatest
  }

  /** True if an older message of its sender and topic must go first, whatever their priorities. */
  get mustFollow(): boolean {
    if (!isIdentified(this.message.sender)) return false
    let older = this.olderOfTopic
    while (older?.isSuperseded) older = older.olderOfTopic
    return older !== undefined
  }

  /** Removes it from its queue. It is never enacted. */
  forget(): void {
    this.subQueue.keyQueue.forget(this)
  }
}

/** Messages of a key queue that share turns, in order of arrival: those of one sender and rank, or of one topic. */
export class SubQueue extends LinkedList<QueuedItem> {
  readonly keyQueue: KeyQueue
  readonly key: unknown
  readonly rank: number
  /** Cancels the wait until another rule no longer refuses the first message. Undefined while awake. */
  cancelSleep: (() => void) | undefined
  /** True if the first message must follow an older one of its topic that waits elsewhere. */
  isBlocked = false

  constructor(keyQueue: KeyQueue, key: unknown, rank: number) {
    super()
    this.keyQueue = keyQueue
    this.key = key
    this.rank = rank
  }
}
