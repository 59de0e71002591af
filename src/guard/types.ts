import type { Clock } from '../core/clock.ts'
import type { Decision, Outcome } from '../core/decision.ts'
import type { MaybePromise, Message, Sender } from '../core/message.ts'
import type { SlicedTask, SlicedWork } from '../core/sliced-work.ts'
import type { Holder } from './hold-shares.ts'
import type { QueuedItem } from './sub-queue.ts'

/** Enacts a decision. Called once for each message that is not discarded. */
export type Enact<M extends Message> = (decision: Decision, message: M) => void

/** Asks for a decision. Never throws or rejects. */
export type Ask<M extends Message> = (message: M) => MaybePromise<Decision>

/** Callbacks of a sender queue to the connection it serves. */
export interface SenderQueueHooks {
  onPause?(): void
  onResume?(): void
  /** Called when a message moves to a rule's queue, so that the sender's next message may come. */
  onQueued?(message: Message): void
  /** Called when a message of this sender has left a rule's queue. */
  onDequeued?(): void
}

export interface SenderQueueOptions {
  /**
   * Holds a publish for the guard's longest time, even if it cannot pass by then. Because limits may change
   * meanwhile. A rule's own `upTo` still refuses it at once. Default: false, the publish is refused at once.
   */
  readonly waitsFully?: boolean | undefined
  /** True if the queue serves several senders. Messages of a topic then follow only those of the same sender. Default: false. */
  readonly mixesSenders?: boolean | undefined
}

/** Sender queue, as seen by the rule queues that hold messages of it. */
export interface QueueOwner extends Holder {
  /** Returns its newest message in a rule queue, or undefined if none exists. */
  newestIn(queue: object): QueuedItem | undefined
  addQueued(entry: QueuedItem): void
  removeQueued(entry: QueuedItem): void
}

/** Queue of held messages, as seen by a guard. */
export interface HeldQueue extends SlicedTask {
  readonly held: number
  readonly heldBytes: number
  /** Bounds of this queue. Default: the guard's bounds for one sender. */
  readonly maxHeld?: number | undefined
  readonly maxHeldBytes?: number | undefined
  flush(decision?: Decision): void
}

/** Longest time a message may wait, and the outcome after that time or if there is no room. */
export interface HoldBounds {
  readonly maxHoldMs: number
  readonly overflow: Outcome
  /** True if the rule sets the time. */
  readonly isOfRule: boolean
}

/** Part of a guard that sender queues use. */
export interface SenderQueueBudget {
  readonly clock: Clock
  readonly work: SlicedWork
  /** Returns the bounds on holding a message: the rule's own, else the guard's. */
  boundsOf(decision: Decision | undefined): HoldBounds
  ask(message: Message): MaybePromise<Decision>
  /** Reserves room for a message. Returns false if a bound is reached and no larger holder gives way. */
  reserve(queue: HeldQueue, holder: Holder, message: Message, sizeBytes: number): boolean
  /** Reserves more bytes for held messages; a negative number releases them. Returns false if a bound is reached. */
  grow(bytes: number): boolean
  /** Moves the room of one holder's message to the message of another holder that replaces it. */
  transfer(from: Holder, fromBytes: number, to: Holder, toBytes: number, message: Message): void
  /** Releases room. The queue's own counts no longer include the message. */
  release(queue: HeldQueue, holder: Holder, sizeBytes: number): void
  countOverflow(): void
  /** Reports that a message may not be delivered, whatever the gate has decided or will decide. */
  forgetPayload(message: Message): void
  countSuperseded(): void
  countDiscarded(count: number): void
  /**
   * Puts a message into the queue of its rule. Returns false if this guard has no rule queues; the caller then
   * enacts the decision.
   */
  enqueue(request: QueueRequest): boolean
}

/** Message for a rule's queue, with the callbacks that continue it. */
export interface QueueRequest {
  readonly message: Message
  readonly decision: Decision
  /** Sender queue that the message belongs to. */
  readonly senderQueue: QueueOwner
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** Older message of the same sender and topic. The new message follows it in the same queue. */
  readonly after?: QueuedItem | undefined
}

/** Returns true if a sender has an identity. Otherwise messages of one topic may come from several senders. */
export function isIdentified({ client, user, device, apiKey }: Sender): boolean {
  return (client ?? user ?? device ?? apiKey) !== undefined
}

/** Returns true if the outcome delivers a message under its own topic. */
export function isPassing(outcome: Outcome): boolean {
  return outcome === 'deliver' || outcome === 'degrade'
}

/** Returns the refusal of a message that finds no room or would wait too long, with the rule that held it. */
export function overflow(refusal: Decision | undefined, outcome: Outcome): Decision {
  return refusal !== undefined
    ? { ...refusal, allowed: false, outcome }
    : { allowed: false, outcome, reason: 'rate_limit_exceeded', retryAfterMs: 1 }
}
