import type { Outcome } from '../../src/core/decision.ts'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { Gate } from '../../src/index.ts'

const REASONS: Readonly<Partial<Record<Outcome, string>>> = {
  retry: 'MQTT does not redeliver on the same connection; use throttle or queue',
  disconnect: 'that would end the consumer, not the sender; use drop or reject',
}
const NO_SECOND_CLIENT = 'there is no client to publish with; give a second one as deadLetter'

/** Returns the problems of a gate's rules with a consumer, each with its remedy. Empty if there are none. */
export function findUnsupported(gate: Gate, canRedirect: boolean): readonly string[] {
  const reasons = canRedirect ? REASONS : { ...REASONS, redirect: NO_SECOND_CLIENT }
  const held = [...gate.held.names].map(
    ([kind, rules]) =>
      `an MQTT consumer cannot count ${kind}, which ${rules.map(rule => `"${rule}"`).join(', ')} limits (a broker can: use topicgate/aedes)`,
  )
  const problems = [...gate.outcomes('publish')].flatMap(([outcome, rules]) => {
    const reason = reasons[outcome]
    if (reason === undefined) return []
    const names = rules.map(rule => `"${rule}"`).join(', ')
    return [`an MQTT consumer cannot enact "${outcome}", which ${names} asks for (${reason})`]
  })
  return [...held, ...problems]
}

/** Throws UnsupportedError if a rule needs an outcome that a consumer cannot enact. */
export function assertSupported(gate: Gate, canRedirect: boolean): void {
  const problems = findUnsupported(gate, canRedirect)
  if (problems.length > 0) throw new UnsupportedError(problems.join('\n'))
}
