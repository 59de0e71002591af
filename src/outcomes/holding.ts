import { BOUNDS } from '../bounds.ts'
import type { Clock } from '../clock.ts'
import type { Decision, Outcome } from '../decision.ts'
import { checkWithin, policyError } from '../errors.ts'
import type { MaybePromise, Message, Sender } from '../message.ts'
import { parseDuration } from '../units.ts'
import type { Parked } from './flow.ts'
import type { Holder } from './hold-shares.ts'
import type { SlicedTask, SlicedWork } from './sliced-work.ts'

/** Does with a message what was decided. Called once for each message that is not forgotten. */
export type Enact<M extends Message> = (decision: Decision, message: M) => void

/** Asks for a decision; never throws and never rejects. */
export type Ask<M extends Message> = (message: M) => MaybePromise<Decision>

/** What a lane does for its connection, which may be followed by another. */
export interface LaneHooks {
  onHold?(): void
  onFree?(): void
  /** A message waits outside this sender's order now, in its rule's: the next may come. */
  onPark?(message: Message): void
  /** A message of this sender has left the queue of its rule. */
  onUnpark?(): void
}

export interface LaneOptions {
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
  newestIn(queue: object): Parked | undefined
  addQueued(entry: Parked): void
  removeQueued(entry: Parked): void
}

/** What a guard sees of a lane. */
export interface HeldLine extends SlicedTask {
  readonly held: number
  readonly heldBytes: number
  /** Its own bounds; without them those of a sender hold. */
  readonly maxHeld?: number | undefined
  readonly maxHeldBytes?: number | undefined
  flush(decision?: Decision): void
}

/** What may become of a message that was to be held and cannot be, or not any longer. */
export type Then = 'drop' | 'reject' | 'disconnect'

export interface ThrottleOptions {
  /** Longest wait, as a duration; at most five minutes. */
  readonly upTo?: string | undefined
  readonly then?: 'drop' | 'disconnect' | undefined
}

/** A rule's own bound on holding; what it leaves out is the guard's. */
export interface Hold {
  readonly upToMs?: number | undefined
  readonly then?: 'drop' | 'disconnect' | undefined
}

/** How long a message may wait, and what becomes of it then or where it finds no room. */
export interface HoldBounds {
  readonly maxHoldMs: number
  readonly overflow: Outcome
  /** The time is that of the rule. */
  readonly isOfRule: boolean
}

/** What a lane needs of its guard. */
export interface LaneKeeper {
  readonly clock: Clock
  readonly work: SlicedWork
  /** The bounds on holding a message that was decided so: the rule's own, else the guard's. */
  boundsOf(decision: Decision | undefined): HoldBounds
  ask(message: Message): MaybePromise<Decision>
  /** Takes room for a message of a holder; false when a bound is reached and no larger holder gives way. */
  reserve(line: HeldLine, holder: Holder, message: Message, sizeBytes: number): boolean
  /** Takes so many bytes more for what is held already, or gives them back; false when a bound is reached. */
  grow(bytes: number): boolean
  /** Counts the room of one holder's message as that of another's, which has taken its place. */
  transfer(from: Holder, fromBytes: number, to: Holder, toBytes: number, message: Message): void
  /** Gives room back; the line's own numbers are already without the message. */
  release(line: HeldLine, holder: Holder, sizeBytes: number): void
  overflowed(): void
  superseded(): void
  discarded(count: number): void
  /**
   * Parks a message that its rule queues, for the lane that brings it. False where this guard does not: then its
   * decision is to be enacted.
   */
  park(parking: ToPark): boolean
}

/** A message that a rule queues, and all that is needed to go on with it. */
export interface ToPark {
  readonly message: Message
  readonly decision: Decision
  /** Whose turn it takes. */
  readonly lane: QueueOwner
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** An older message of its sender and topic: it stands behind that, in the same queue. */
  readonly after?: Parked | undefined
}

/** A rule's bound on holding, where its `throttle` says one. Throws PolicyError. */
export function compileHold(options: ThrottleOptions, path: string): Hold | undefined {
  const { upTo, then } = options
  if (upTo === undefined && then === undefined) return undefined
  if (then !== undefined && then !== 'drop' && then !== 'disconnect')
    throw policyError(`${path}.then`, `"${String(then)}" is none of them`, 'use one of drop, disconnect')
  const upToMs = upTo === undefined ? undefined : readHoldMs(upTo, `${path}.upTo`)
  return { ...(upToMs === undefined ? {} : { upToMs }), ...(then === undefined ? {} : { then }) }
}

/** The longest a rule may hold a message, in milliseconds. Throws PolicyError. */
export function readHoldMs(upTo: string, path: string): number {
  const ms = checkWithin(path, () => parseDuration(upTo))
  if (ms <= BOUNDS.holdMs) return ms
  const message = `${JSON.stringify(upTo)} is longer than a message is ever held`
  throw policyError(path, message, `write at most ${BOUNDS.holdMs / 60_000}m`)
}

/** Whether an answer is still to come. */
export function isLater(answer: MaybePromise<Decision>): answer is Promise<Decision> {
  return typeof (answer as { then?: unknown }).then === 'function'
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
