import type { Outcome } from '../../src/core/decision.ts'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { Gate } from '../../src/index.ts'

const REASONS: Readonly<Partial<Record<Outcome, string>>> = {
  retry: 'MQTT delivers nothing again on the same connection; use throttle or queue',
  disconnect: 'that would end the consumer, not the sender; use drop or reject',
}
const NO_SECOND_CLIENT = 'there is no client to publish with; give a second one as deadLetter'

/** What rules of the gate ask for that a consumer cannot do, each with its remedy; empty where all is well. */
export function findUnsupported(gate: Gate, redirects: boolean): readonly string[] {
  const reasons = redirects ? REASONS : { ...REASONS, redirect: NO_SECOND_CLIENT }
  const held = [...gate.held.names].map(
    ([kind, rules]) =>
      `an MQTT consumer cannot count ${kind}, which ${rules.map(rule => `"${rule}"`).join(', ')} limits (a broker can: use topicgate/aedes)`,
  )
  const flaws = [...gate.outcomes('publish')].flatMap(([outcome, rules]) => {
    const reason = reasons[outcome]
    if (reason === undefined) return []
    const names = rules.map(rule => `"${rule}"`).join(', ')
    return [`an MQTT consumer cannot enact "${outcome}", which ${names} asks for (${reason})`]
  })
  return [...held, ...flaws]
}

/** Throws UnsupportedError when a rule asks for what a consumer cannot do. */
export function assertSupported(gate: Gate, redirects: boolean): void {
  const flaws = findUnsupported(gate, redirects)
  if (flaws.length > 0) throw new UnsupportedError(flaws.join('\n'))
}
