import type { Clock } from '../core/clock.ts'
import type { Decision, Outcome } from '../core/decision.ts'
import type { MaybePromise, Message, Sender } from '../core/message.ts'
import type { SlicedTask, SlicedWork } from '../core/sliced-work.ts'
import type { Holder } from './hold-shares.ts'
import type { QueuedItem } from './sub-queue.ts'

/** Does with a message what was decided. Called once for each message that is not forgotten. */
export type Enact<M extends Message> = (decision: Decision, message: M) => void

/** Asks for a decision; never throws and never rejects. */
export type Ask<M extends Message> = (message: M) => MaybePromise<Decision>

/** What a lane does for its connection, which may be followed by another. */
export interface SenderQueueHooks {
  onPause?(): void
  onResume?(): void
  /** A message waits outside this sender's order now, in its rule's: the next may come. */
  onQueued?(message: Message): void
  /** A message of this sender has left the queue of its rule. */
  onUnpark?(): void
}

export interface SenderQueueOptions {
  /**
   * Holds a publish that no answer lets pass in time for as long as the guard may, as limits may be changed meanwhile;
   * a rule's own `upTo` still refuses it at once. Default: false, it is refused at once.
   */
  readonly waitsFully?: boolean | undefined
  /** The lane serves several senders: topics are told apart by sender. Default: false. */
  readonly mixesSenders?: boolean | undefined
}

/** A lane, as seen by queues of rules that hold messages of it. */
export interface QueueOwner extends Holder {
  /** Its newest message in a queue; undefined if there is none. */
  newestIn(queue: object): QueuedItem | undefined
  addQueued(entry: QueuedItem): void
  removeQueued(entry: QueuedItem): void
}

/** What a guard sees of a lane. */
export interface HeldKeyQueue extends SlicedTask {
  readonly held: number
  readonly heldBytes: number
  /** Its own bounds; without them those of a sender hold. */
  readonly maxHeld?: number | undefined
  readonly maxHeldBytes?: number | undefined
  flush(decision?: Decision): void
}

/** How long a message may wait, and what becomes of it then or where it finds no room. */
export interface HoldBounds {
  readonly maxHoldMs: number
  readonly overflow: Outcome
  /** The time is that of the rule. */
  readonly isOfRule: boolean
}

/** What a lane needs of its guard. */
export interface SenderQueueBudget {
  readonly clock: Clock
  readonly work: SlicedWork
  /** The bounds on holding a message that was decided so: the rule's own, else the guard's. */
  boundsOf(decision: Decision | undefined): HoldBounds
  ask(message: Message): MaybePromise<Decision>
  /** Takes room for a message of a holder; false when a bound is reached and no larger holder gives way. */
  reserve(keyQueue: HeldKeyQueue, holder: Holder, message: Message, sizeBytes: number): boolean
  /** Takes so many bytes more for what is held already, or gives them back; false when a bound is reached. */
  grow(bytes: number): boolean
  /** Counts the room of one holder's message as that of another's, which has taken its place. */
  transfer(from: Holder, fromBytes: number, to: Holder, toBytes: number, message: Message): void
  /** Gives room back; the line's own numbers are already without the message. */
  release(keyQueue: HeldKeyQueue, holder: Holder, sizeBytes: number): void
  overflowed(): void
  superseded(): void
  discarded(count: number): void
  /**
   * Parks a message that its rule queues, for the lane that brings it. False where this guard does not: then its
   * decision is to be enacted.
   */
  park(ruleQueues: ToQueue): boolean
}

/** A message that a rule queues, and all that is needed to go on with it. */
export interface ToQueue {
  readonly message: Message
  readonly decision: Decision
  /** Whose turn it takes. */
  readonly senderQueue: QueueOwner
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** An older message of its sender and topic: it stands behind that, in the same queue. */
  readonly after?: QueuedItem | undefined
}

/** Whether a sender is known by name: messages of one topic may otherwise come from several. */
export function isIdentified({ client, user, device, apiKey }: Sender): boolean {
  return (client ?? user ?? device ?? apiKey) !== undefined
}

/** Whether an outcome hands a message on under its own topic. */
export function isPassing(outcome: Outcome): boolean {
  return outcome === 'deliver' || outcome === 'degrade'
}

/** The refusal of a message that finds no room or would wait too long, in the name of the rule that held it. */
export function overflow(refusal: Decision | undefined, outcome: Outcome): Decision {
  return refusal !== undefined
    ? { ...refusal, allowed: false, outcome }
    : { allowed: false, outcome, reason: 'rate_limit_exceeded', retryAfterMs: 1 }
}
