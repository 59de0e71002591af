import type { Clock } from '../clock.ts'
import type { Decision, Outcome } from '../decision.ts'
import type { MaybePromise, Message } from '../message.ts'

/** Does with a message what was decided. Called once for each message that is not forgotten. */
export type Enact<M extends Message> = (decision: Decision, message: M) => void

/** Asks for a decision; never throws and never rejects. */
export type Ask<M extends Message> = (message: M) => MaybePromise<Decision>

/** What a lane tells its connection: stop reading, read on. */
export interface LaneHooks {
  onHold?(): void
  onFree?(): void
}

/** What a guard sees of a lane. */
export interface HeldLine {
  readonly held: number
  readonly heldBytes: number
  flush(decision?: Decision): void
}

/** A rule's own bound on holding; what it leaves out is the guard's. */
export interface Hold {
  readonly upToMs?: number
  readonly then?: 'drop' | 'disconnect'
}

/** How long a message may wait, and what becomes of it then or where it finds no room. */
export interface HoldBounds {
  readonly maxHoldMs: number
  readonly overflow: Outcome
}

/** What a lane needs of its guard. */
export interface LaneKeeper {
  readonly clock: Clock
  /** The bounds on holding a message that was decided so: the rule's own, else the guard's. */
  boundsOf(decision: Decision | undefined): HoldBounds
  ask(message: Message): MaybePromise<Decision>
  /** Takes room for a message; false when a bound is reached. */
  reserve(line: HeldLine, sizeBytes: number): boolean
  /** Gives room back; the line's own numbers are already without the message. */
  release(line: HeldLine, sizeBytes: number): void
  overflowed(): void
  discarded(count: number): void
}
