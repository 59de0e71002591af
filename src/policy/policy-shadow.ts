import type { CompiledPenalty } from '../chain/rules/compile-penalty.ts'
import { resourceKindOf } from '../chain/rules/resource-limit.ts'
import type { Warn } from './condition-warnings.ts'
import type { PolicyDocument, PolicyRule } from './schema.ts'

/** Value of `shadow` of a policy that is valid. */
export type PolicyShadow = PolicyDocument['shadow']

/** Returns true if a policy is in shadow, for all senders or for a share of them. */
export function isInShadow(shadow: PolicyShadow): boolean {
  return shadow !== undefined && shadow !== false
}

/** Returns true for rules that cannot only observe: limits of what is held or handled at once. */
export function isUnsupportedInShadow(rule: Partial<PolicyRule>): boolean {
  return resourceKindOf(rule) !== undefined || rule.inFlight !== undefined
}

/**
 * Returns a rule as it is in a policy in shadow, unless the rule has a `shadow` of its own. A rule that cannot only
 * observe is off.
 */
export function applyPolicyShadow(rule: Partial<PolicyRule>, shadow: PolicyShadow): Partial<PolicyRule> {
  if (!isInShadow(shadow) || rule.shadow !== undefined) return rule
  return isUnsupportedInShadow(rule) ? { ...rule, enabled: false } : { ...rule, shadow }
}

/** Returns the penalty of a policy in shadow, which limits no connects. */
export function penaltyInShadow(penalty: CompiledPenalty | undefined): CompiledPenalty | undefined {
  return penalty === undefined ? undefined : { ...penalty, flapping: [] }
}

/** Warns of the parts of a policy in shadow that are off, because they cannot only observe. */
export function warnOfPolicyShadow(document: PolicyDocument, warn: Warn): void {
  const { shadow, rules = [], breaker, feedback, penalties } = document
  if (!isInShadow(shadow)) return
  rules.forEach((rule, index) => {
    if (rule.enabled === false || rule.shadow === false || !isUnsupportedInShadow(rule)) return
    const remedy = 'write shadow: false in the rule to keep it on'
    warn(`rules[${index}]`, 'the rule is off while the policy is in shadow: it cannot only observe', remedy)
  })
  const remedy = 'set `shadow` in each rule instead to keep it on'
  const offWhileInShadow = (path: string): void =>
    warn(path, 'this is off while the policy is in shadow: it cannot only observe', remedy)
  if (breaker !== undefined) offWhileInShadow('breaker')
  if (feedback !== undefined) offWhileInShadow('feedback')
  if (penalties?.flapping !== undefined) offWhileInShadow('penalties.flapping')
}
