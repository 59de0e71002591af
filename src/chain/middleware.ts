import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message, Sender } from '../core/message.ts'

/** Asks the rest of the chain; asking twice gives the first answer again. */
export type Next = () => MaybePromise<Decision>

/** What a gate knows of a message that the message does not say. */
export interface MiddlewareContext {
  /** The sender with the parts that the `senders` of a policy add. */
  readonly sender: Sender
  /** The time of the decision by the gate's clock. */
  readonly nowMs: number
  /** Levels of the topic by the names that the pattern of `gate.use` gives them. */
  readonly captures: ReadonlyMap<string, string>
}

/**
 * One station of the chain: answers itself, or passes on to `next` and may change its answer. The context is made for
 * functions with three parameters.
 */
export type Middleware = (message: Message, next: Next, context: MiddlewareContext) => MaybePromise<Decision>
