import { convertLimitToThousandths } from '../../algorithms/multiply-limit.ts'
import { holdsFor } from '../../conditions/condition.ts'
import { PASSED, PASSED_BY_OVERRIDE } from '../../core/decision.ts'
import { PolicyError } from '../../core/errors.ts'
import type { PassDecision } from '../evaluation/combine-verdicts.ts'
import { type PlanStep, type RuleInPlan, recordingOnly } from '../routing/plan-steps.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import { applyOverrideToRule, type Override, overrideAppliesToRule } from '../rules/rate-override.ts'
import { multiplyCost, type Tiers } from '../rules/tiers.ts'
import type { EffectiveSettings } from './sender-runtime-settings.ts'

/** The steps of a route for senders with the same overrides, and the decision if none applies. */
export interface PlanWithOverrides {
  readonly steps: readonly PlanStep[]
  readonly passed: PassDecision
}

/**
 * Applies a sender's tier and overrides to the steps of a route: inserts the tier's limit before the first
 * others, multiplies costs, and lifts or changes limits. Never throws: limits that cannot be changed stay as
 * they were.
 */
export function applyOverrides(
  steps: readonly PlanStep[],
  on: string,
  effectiveSettings: EffectiveSettings,
): PlanWithOverrides {
  const { tier, overrides } = effectiveSettings
  const lifted: Rule[] = []
  let count = 0
  const planRule = ({ rule, pattern }: Omit<RuleInPlan, 'index'>): RuleInPlan[] => {
    const priced = multiplyRuleCost(rule, tier?.costThousandths ?? 1000)
    const changed = overriddenRule(priced, overrides)
    if (changed === undefined) lifted.push(rule)
    return changed === undefined ? [] : [{ rule: changed, pattern, index: count++ }]
  }
  const all = overrides.find(each => each.rules === undefined)
  if (all?.effect.kind === 'unlimited' && overrides[0] === all) {
    const rest = steps.flatMap((step): PlanStep[] => {
      if (step.kind === 'unchanged') return [recordingOnly(step, () => true)]
      return step.kind === 'custom' ? [step] : []
    })
    return { steps: rest, passed: PASSED_BY_OVERRIDE }
  }
  const own = tier?.rule?.on === on ? [{ rule: tier.rule, pattern: undefined }] : []
  const first = steps.findIndex(({ kind }) => kind === 'limits')
  const treated = steps.flatMap((step, index): PlanStep[] => {
    switch (step.kind) {
      case 'custom':
      case 'sizes':
      case 'unchanged':
        return [step]
      case 'exempt':
        return [step.own === undefined ? step : { ...step, own: { ...step.own, index: count++ } }]
      case 'limits': {
        const rules = [...(index === first ? own : []), ...step.rules].flatMap(planRule)
        return rules.length > 0 ? [{ kind: 'limits', rules }] : []
      }
      default:
        return step satisfies never
    }
  })
  const rest = first < 0 ? own.flatMap(planRule) : []
  return {
    steps: rest.length > 0 ? [...treated, { kind: 'limits', rules: rest }] : treated,
    passed: passedWithout(lifted),
  }
}

/** Returns the decision on messages to which no rule applies, except rules lifted by an override. */
function passedWithout(lifted: readonly Rule[]): PassDecision {
  if (lifted.length === 0) return PASSED
  if (lifted.some(({ when }) => when === undefined)) return PASSED_BY_OVERRIDE
  return (message, nowMs) =>
    lifted.some(rule => holdsFor(rule, message, nowMs)) ? PASSED_BY_OVERRIDE : PASSED
}

/**
 * Returns the steps of a route with every limit in the unit that all senders count in: thousandths if a tier
 * makes costs fractional. Why: plans of one rule share its state. In different units, each new plan would
 * convert the state of all keys.
 */
export function inThousandthsIfFractional(
  steps: readonly PlanStep[],
  tiers: Tiers | undefined,
): readonly PlanStep[] {
  if (tiers?.fractional !== true) return steps
  return steps.map(step => {
    if (step.kind !== 'limits') return step
    return {
      ...step,
      rules: step.rules.map(planned => ({ ...planned, rule: ruleInThousandths(planned.rule) })),
    }
  })
}

/** Cached, so that plans of all tiers use the same limit object. */
const FINE = new WeakMap<Rule, Rule>()

/** Returns a rule that counts in thousandths, or the rule itself if it is too large for that. */
export function ruleInThousandths(rule: Rule): Rule {
  if (rule.limit.scale === 1000) return rule
  const fine =
    FINE.get(rule) ?? attempt(() => ({ ...rule, limit: convertLimitToThousandths(rule.limit) }), rule)
  FINE.set(rule, fine)
  return fine
}

/** Returns a rule under the first override that applies to it, or undefined if it is lifted. */
export function overriddenRule(rule: Rule, overrides: readonly Override[]): Rule | undefined {
  for (const override of overrides) {
    if (!overrideAppliesToRule(override, rule)) continue
    const changed = attempt(() => applyOverrideToRule(rule, override), rule)
    if (changed !== rule) return changed
  }
  return rule
}

function multiplyRuleCost(rule: Rule, costThousandths: number): Rule {
  return costThousandths === 1000 ? rule : { ...rule, cost: multiplyCost(rule.cost, costThousandths) }
}

function attempt<T>(run: () => T, otherwise: T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof PolicyError) return otherwise
    throw error
  }
}
