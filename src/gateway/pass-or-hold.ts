import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Enact, Guard, SenderQueue } from '../guard/guard.ts'
import { reuseDecisionOnce } from '../guard/reuse-decision-once.ts'

/** A message that is a part of a received chunk. */
interface ReceivedMessage extends Message {
  /** True once its decision was enacted. */
  readonly isEnacted: boolean
  /** Copies the message out of the chunk, which it would keep in memory while it waits. */
  detach(): void
}

/**
 * Decides about a message. Returns true if it passes at once; then `enact` is not called. Otherwise it is called with
 * the decision, at once or when the message has waited in its queue. `early` is the decision of an earlier call of
 * `guard.ask` about the message.
 */
export function passesAtOnce<M extends ReceivedMessage>(
  message: M,
  guard: Guard,
  queue: SenderQueue,
  enact: Enact<M>,
  early?: MaybePromise<Decision>,
): boolean {
  if (queue.pending === 0) {
    const answer = early ?? guard.ask(message)
    if ((answer as Decision).outcome === 'deliver') return true
    queue.admit(message, enact, reuseDecisionOnce(answer, guard))
  } else queue.admit(message, enact)
  if (!message.isEnacted) message.detach()
  return false
}
