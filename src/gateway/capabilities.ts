import {
  describeUnsupported,
  describeUnsupportedResourceLimits,
} from '../broker-support/unsupported-outcomes.ts'
import type { Outcome } from '../core/decision.ts'
import type { Operation } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'

const ANSWERED: ReadonlySet<Outcome> = new Set(['throttle', 'drop', 'reject', 'disconnect'])

/** Outcomes that gateways can enact, by action. */
const SUPPORTED: Readonly<Record<Operation, ReadonlySet<Outcome>>> = {
  // No `retry`: a client resends nothing while it keeps its connection.
  publish: new Set(['degrade', 'latest', 'throttle', 'queue', 'redirect', 'drop', 'reject', 'disconnect']),
  // A message can be held, changed or redirected; a request can only be answered.
  subscribe: ANSWERED,
  connect: ANSWERED,
  // A delivery can wait. A redirected or degraded delivery would be a publish.
  deliver: new Set(['latest', 'throttle', 'queue', 'drop', 'reject', 'disconnect']),
  // A socket has no protocol yet that could answer.
  accept: new Set(['drop', 'reject', 'disconnect']),
}

/** Returns true if gateways can enact an outcome of an action. */
export function canEnactOutcome(action: Operation, outcome: Outcome): boolean {
  return SUPPORTED[action].has(outcome)
}

/** Lists demands of the gate's rules that a gateway, such as `the MQTT gateway`, cannot meet, each with its remedy. */
export function findUnsupported(gate: Gate, gateway: string): readonly string[] {
  const problems = gate.handlerMonitor.names.map(
    name =>
      `${gateway} cannot supply "${name}" with handler results, as a broker has no handlers (use the policy in a NATS or MQTT consumer)`,
  )
  for (const [action, supported] of Object.entries(SUPPORTED) as [Operation, ReadonlySet<Outcome>][]) {
    for (const [outcome, rules] of gate.outcomes(action)) {
      if (supported.has(outcome)) continue
      const remedy = `use ${[...supported].join(', ')}`
      problems.push(describeUnsupported(gateway, `"${outcome}" on ${action}`, rules, remedy))
    }
  }
  return [...problems, ...describeUnsupportedResourceLimits(gate, gateway)]
}
