import type { Decision, Outcome } from '../core/decision.ts'
import type { MaybePromise, Message, Sender } from '../core/message.ts'

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

/** Returns true if a sender has an identity. Otherwise messages of one topic may come from several senders. */
export function isIdentified({ client, user, device, apiKey }: Sender): boolean {
  return (client ?? user ?? device ?? apiKey) !== undefined
}

/** Returns true if the outcome delivers a message under its own topic. */
export function isPassing(outcome: Outcome): boolean {
  return outcome === 'deliver' || outcome === 'degrade'
}

/** Returns the refusal of a message that finds no room or would wait too long, with the rule that held it. */
export function createOverflowRefusal(refusal: Decision | undefined, outcome: Outcome): Decision {
  return refusal !== undefined
    ? { ...refusal, allowed: false, outcome }
    : { allowed: false, outcome, reason: 'rate_limit_exceeded', retryAfterMs: 1 }
}
