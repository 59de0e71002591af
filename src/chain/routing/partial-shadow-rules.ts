import type { Message, Sender } from '../../core/message.ts'
import { LazyTopicCaptures, type Pattern } from '../../topic/pattern.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import { isEnforced, type PartialShadow, type Shadow } from '../rules/shadow.ts'
import type { SizeRule } from '../rules/size-limit.ts'
import type { UnchangedRule } from '../rules/unchanged-payload-rule.ts'
import type { PlanStep } from './plan-steps.ts'

type AnyRule = Rule | SizeRule | UnchangedRule

/** A rule of a plan that is in shadow for a share of the senders. */
export interface PartialShadowRule {
  readonly rule: AnyRule
  readonly partialShadow: PartialShadow
  /** Undefined for a rule whose share is one of clients, which needs no captures. */
  readonly pattern: Pattern | undefined
}

const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** Returns the rules of a plan that are in shadow for a share of the senders. */
export function findPartialShadowRules(steps: readonly PlanStep[]): readonly PartialShadowRule[] {
  return steps.flatMap(step => {
    if (step.kind === 'sizes') return step.rules.flatMap(rule => partialOf(rule, undefined))
    if (step.kind === 'limits' || step.kind === 'unchanged')
      return step.rules.flatMap(({ rule, pattern }) => partialOf(rule, pattern))
    return []
  })
}

function partialOf(rule: AnyRule, pattern: Pattern | undefined): readonly PartialShadowRule[] {
  const { partialShadow } = rule
  return partialShadow === undefined ? [] : [{ rule, partialShadow, pattern }]
}

/** Returns true if a rule refuses messages of a sender. */
export function isEnforcedFor(
  { partialShadow, pattern }: PartialShadowRule,
  message: Message,
  sender: Sender,
): boolean {
  const captures = pattern === undefined ? NO_CAPTURES : new LazyTopicCaptures(pattern, message.topic)
  return isEnforced(partialShadow, { message, sender, pattern: pattern?.text ?? '', captures })
}

/** Returns the steps of a plan in which some rules refuse. */
export function enforceRules(
  steps: readonly PlanStep[],
  enforced: readonly PartialShadowRule[],
): readonly PlanStep[] {
  if (enforced.length === 0) return steps
  const rules = new Set<Shadow>(enforced.map(({ rule }) => rule))
  return steps.map((step): PlanStep => {
    switch (step.kind) {
      case 'sizes':
        return {
          ...step,
          rules: step.rules.map(rule => (rules.has(rule) ? { ...rule, shadow: false } : rule)),
        }
      case 'unchanged':
        return {
          ...step,
          rules: step.rules.map(planned =>
            rules.has(planned.rule) ? { ...planned, rule: { ...planned.rule, shadow: false } } : planned,
          ),
        }
      case 'limits':
        return {
          ...step,
          rules: step.rules.map(planned =>
            rules.has(planned.rule) ? { ...planned, rule: enforceRule(planned.rule) } : planned,
          ),
        }
      default:
        return step
    }
  })
}

function enforceRule(rule: Rule): Rule {
  return { ...rule, shadow: false, soft: rule.outcome === 'degrade' }
}
