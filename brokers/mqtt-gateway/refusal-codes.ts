import type { Decision } from '../../src/core/decision.ts'
import type { Sender } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { lowerCaseFields, rateLimitFields } from '../../src/outcomes/rate-limit-fields.ts'
import { refusalText } from '../../src/outcomes/refusal-text.ts'
import { REASON } from './packet-types.ts'
import type { Explanation } from './write-packets.ts'

/** Returns the reason code of the CONNACK that refuses a connect. */
export function connackCode({ reason }: Decision): number {
  switch (reason) {
    case 'banned':
      return REASON.banned
    case 'quota_exceeded':
      return REASON.quotaExceeded
    case 'store_unavailable':
    case 'handler_busy':
      return REASON.serverBusy
    default:
      return REASON.connectionRateExceeded
  }
}

/** Returns the reason code of the DISCONNECT that a decision causes. */
export function disconnectCode({ reason }: Decision): number {
  switch (reason) {
    case 'banned':
      return REASON.administrativeAction
    case 'quota_exceeded':
      return REASON.quotaExceeded
    case 'too_large':
      return REASON.packetTooLarge
    case 'store_unavailable':
      return REASON.serverBusy
    default:
      return REASON.messageRateTooHigh
  }
}

/** Returns the text and the fields of a refusal. */
export function explainRefusal(gate: Gate, decision: Decision, sender: Sender): Explanation {
  const ruleInfo = gate.ruleOf(decision.rule)
  return {
    text: refusalText(decision, sender, ruleInfo),
    fields: lowerCaseFields(rateLimitFields(decision, ruleInfo)),
  }
}
