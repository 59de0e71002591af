import type { Outcome } from '../../src/core/decision.ts'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { Action } from '../../src/core/message.ts'
import type { Gate } from '../../src/index.ts'

const ANSWERED: ReadonlySet<Outcome> = new Set(['throttle', 'drop', 'reject', 'disconnect'])

/** What aedes can do with a refusal. */
const SUPPORTED: Readonly<Record<Action, ReadonlySet<Outcome>>> = {
  // Nothing is ever sent again by a client that keeps its connection: there is no `retry`.
  publish: new Set(['degrade', 'latest', 'throttle', 'queue', 'redirect', 'drop', 'reject', 'disconnect']),
  // A message can be kept, changed or sent elsewhere; a question can only be answered.
  subscribe: ANSWERED,
  connect: ANSWERED,
  // A delivery can wait; what is sent elsewhere, or sent in another form to one of many, would be a publish.
  deliver: new Set(['latest', 'throttle', 'queue', 'drop', 'reject', 'disconnect']),
}

/** Whether aedes can enact an outcome of an action. */
export function isSupported(action: Action, outcome: Outcome): boolean {
  return SUPPORTED[action].has(outcome)
}

/** What rules of the gate ask for that aedes cannot do, each with its remedy; empty where all is well. */
export function findUnsupported(gate: Gate): readonly string[] {
  const flaws = gate.handlerMonitor.names.map(
    name =>
      `aedes cannot tell "${name}" what handlers do: a broker has none (put the policy before a NATS or MQTT consumer)`,
  )
  for (const [action, supported] of Object.entries(SUPPORTED) as [Action, ReadonlySet<Outcome>][]) {
    for (const [outcome, rules] of gate.outcomes(action)) {
      if (supported.has(outcome)) continue
      const names = rules.map(rule => `"${rule}"`).join(', ')
      flaws.push(
        `aedes cannot enact "${outcome}" on ${action}, which ${names} asks for (use ${[...supported].join(', ')})`,
      )
    }
  }
  return flaws
}

/** Throws UnsupportedError when a rule asks for what aedes cannot do. */
export function assertSupported(gate: Gate): void {
  const flaws = findUnsupported(gate)
  if (flaws.length > 0) throw new UnsupportedError(flaws.join('\n'))
}
