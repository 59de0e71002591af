import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message, Sender } from '../core/message.ts'

/** Runs the rest of the chain. A second call returns the first answer again. */
export type Next = () => MaybePromise<Decision>

/** Facts about a message that only the gate knows. */
export interface MiddlewareContext {
  /** Sender with the parts added by `senders` of the policy. */
  readonly sender: Sender
  /** Time of the decision by the gate's clock. */
  readonly nowMs: number
  /** Levels of the topic by the capture names in the pattern of `gate.use`. */
  readonly captures: ReadonlyMap<string, string>
}

/**
 * One step of the chain: returns a decision, or calls `next` and may change its answer. The context is built
 * only for functions with three parameters.
 */
export type Middleware = (message: Message, next: Next, context: MiddlewareContext) => MaybePromise<Decision>
