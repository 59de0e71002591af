import {
  describeUnsupported,
  describeUnsupportedResourceLimits,
} from '../../src/broker-support/unsupported-outcomes.ts'
import type { Outcome } from '../../src/core/decision.ts'
import type { Gate } from '../../src/gate/gate.ts'

const ADAPTER = 'an MQTT consumer'
const REASONS: Readonly<Partial<Record<Outcome, string>>> = {
  retry: 'MQTT does not redeliver on the same connection; use throttle or queue',
  disconnect: 'that would end the consumer, not the sender; use drop or reject',
}
const NO_SECOND_CLIENT = 'there is no client to publish with; give a second one as deadLetter'

/** Returns the problems of a gate's rules with a consumer, each with its remedy. Empty if there are none. */
export function findUnsupported(gate: Gate, canRedirect: boolean): readonly string[] {
  const reasons = canRedirect ? REASONS : { ...REASONS, redirect: NO_SECOND_CLIENT }
  const problems = [...gate.outcomes('publish')].flatMap(([outcome, rules]) => {
    const reason = reasons[outcome]
    return reason === undefined ? [] : [describeUnsupported(ADAPTER, `"${outcome}"`, rules, reason)]
  })
  return [...describeUnsupportedResourceLimits(gate, ADAPTER), ...problems]
}
