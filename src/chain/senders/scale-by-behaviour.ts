import type { Limit } from '../../algorithms/limit-types.ts'
import { convertLimitToThousandths } from '../../algorithms/multiply-limit.ts'
import { PolicyError } from '../../core/errors.ts'
import type { Message } from '../../core/message.ts'
import type { PlanStep } from '../routing/plan-steps.ts'
import type { CostMeter } from '../rules/cost.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import type { BehaviourLevel, CompiledBehaviourFactors } from './behaviour-tracker.ts'

/**
 * Returns the steps of a route for a behaviour level, with limits multiplied. If load scales them too, the
 * smallest reducing factor applies, or else the largest one. Quotas, limits of tiers and exemptions, and
 * rates set by overrides are not changed.
 */
export function scaleStepsByBehaviour(
  steps: readonly PlanStep[],
  behaviourLevel: BehaviourLevel,
  { factors }: CompiledBehaviourFactors,
): readonly PlanStep[] {
  return steps.map(step => {
    if (step.kind !== 'limits') return step
    const rules = step.rules.map(planned => ({
      ...planned,
      rule: scaleRuleByBehaviour(planned.rule, behaviourLevel, factors[behaviourLevel]),
    }))
    return { ...step, rules }
  })
}

/**
 * Returns a rule for a behaviour level. Costs are divided by the share of the limit. Why: all levels then
 * count in one record, and a change of level neither returns nor removes used units.
 */
function scaleRuleByBehaviour(rule: Rule, behaviourLevel: BehaviourLevel, factor: number): Rule {
  if (rule.asWritten === true || rule.reason === 'quota_exceeded') return rule
  const limit = toThousandths(rule.limit)
  if (limit === undefined) return rule
  const byLoad = rule.scaled?.factor ?? 1
  const both = byLoad < 1 || factor < 1 ? Math.min(byLoad, factor) : Math.max(byLoad, factor)
  if (both === byLoad) return { ...rule, limit }
  const limitShare = both / byLoad
  const scaled = { factor: both, reason: `behaviour ${behaviourLevel}` }
  return {
    ...rule,
    limit,
    limitShare,
    scaled,
    cost: scaleCostForReducedLimit(rule.cost, limitShare, limit.capacity),
  }
}

/** Returns the share of units, rounded down. The tolerance makes a third of 12 equal 4 in floating point. */
export function shareOfUnits(units: number, limitShare: number): number {
  return Math.floor(units * limitShare * (1 + 1e-12))
}

/**
 * Returns costs under a share of a limit, in thousandths, rounded down: 0.3 of 100 is 30 messages, not 29. A
 * cost that fits the whole limit still fits.
 */
export function scaleCostForReducedLimit(cost: CostMeter, limitShare: number, capacity: number): CostMeter {
  const of = (units: number): number => {
    if (units > capacity || units <= 0) return units
    return Math.min(capacity, Math.max(1, Math.floor((units * 1000) / limitShare + 1e-9)) / 1000)
  }
  return {
    fixed: cost.fixed === undefined ? undefined : of(cost.fixed),
    fractional: true,
    unitsOf: (message: Message) => of(cost.unitsOf(message)),
  }
}

/** Cached, so that all plans use the same limit object. */
const FINE = new WeakMap<Limit, Limit | 'too large'>()

/** Returns a limit in thousandths of units; undefined if it is too large for that. */
function toThousandths(limit: Limit): Limit | undefined {
  let fine = FINE.get(limit)
  if (fine === undefined) {
    try {
      fine = convertLimitToThousandths(limit)
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      fine = 'too large'
    }
    FINE.set(limit, fine)
  }
  return fine === 'too large' ? undefined : fine
}
