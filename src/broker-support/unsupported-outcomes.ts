import { UnsupportedError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Gate, PolicyReloadResult } from '../gate/gate.ts'

/** Describes rules with an outcome, such as `"retry" on publish`, that an adapter cannot enact: a broker, consumer or publisher. */
export function describeUnsupported(
  adapter: string,
  outcome: string,
  rules: readonly string[],
  reason: string,
): string {
  return `${adapter} cannot enact ${outcome}, which ${quote(rules)} asks for: ${reason}`
}

/** Describes the rules that limit connections, subscriptions or retained messages, which a consumer cannot count. */
export function describeUnsupportedResourceLimits(gate: Gate, adapter: string): readonly string[] {
  return [...gate.held.names].map(
    ([kind, rules]) =>
      `${adapter} cannot count ${kind}, which ${quote(rules)} limits (a broker can: use topicgate/aedes)`,
  )
}

/** Throws UnsupportedError if there are problems. */
export function assertSupported(problems: readonly string[]): void {
  if (problems.length > 0) throw new UnsupportedError(problems.join('\n'))
}

/** Logs the problems of each policy that is applied later. Returns a function that stops it. */
export function warnUnsupportedOnReload(
  gate: Gate,
  logger: Logger,
  findUnsupported: () => readonly string[],
): () => void {
  const warn = (change: PolicyReloadResult): void => {
    if (change.kind !== 'applied') return
    for (const problem of findUnsupported()) logger.warn({ problem }, problem)
  }
  gate.on('policy', warn)
  return () => void gate.off('policy', warn)
}

function quote(rules: readonly string[]): string {
  return rules.map(rule => `"${rule}"`).join(', ')
}
