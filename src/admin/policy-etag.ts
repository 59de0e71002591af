import type { Gate } from '../gate/gate.ts'

/** Returns a text that changes with the policy in force; `none` without a policy. */
export function policyEtag({ policy }: Pick<Gate, 'policy'>): string {
  return policy?.fingerprint ?? 'none'
}

/** Returns the time at which the policy in force was applied; that of the start without a policy. */
export function policyAppliedAtMs(gate: Pick<Gate, 'stats'>, startedAtMs: number): number {
  return gate.stats().policy.applied?.atMs ?? startedAtMs
}
