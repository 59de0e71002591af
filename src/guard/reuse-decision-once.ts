import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Ask, Guard } from './guard.ts'

/** Returns a function that answers a decision already made, once. A message that waits in its queue is decided anew. */
export function reuseDecisionOnce<M extends Message>(decision: MaybePromise<Decision>, guard: Guard): Ask<M> {
  let answer: MaybePromise<Decision> | undefined = decision
  return message => {
    const first = answer ?? guard.ask(message)
    answer = undefined
    return first
  }
}
