import { type Decision, HARSHNESS, PASSED } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'

/** Returns the harshest decision about a message, and charges nothing. If the gate fails, the message passes. */
export function peekDecision(gate: Gate, message: Message): MaybePromise<Decision> {
  try {
    const decisions = gate.peek(message)
    return isPromise(decisions) ? decisions.then(findHarshest, () => PASSED) : findHarshest(decisions)
  } catch {
    return PASSED
  }
}

function findHarshest(decisions: readonly Decision[]): Decision {
  let harshest = PASSED
  for (const decision of decisions) {
    if (decision.allowed) continue
    const difference = HARSHNESS[decision.outcome] - HARSHNESS[harshest.outcome]
    if (difference > 0 || (difference === 0 && decision.retryAfterMs > harshest.retryAfterMs))
      harshest = decision
  }
  return harshest
}
