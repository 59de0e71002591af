import type { Limit } from '../../algorithms/limit.ts'
import { inThousandths } from '../../algorithms/rescale-limit.ts'
import { PolicyError } from '../../core/errors.ts'
import type { Message } from '../../core/message.ts'
import type { Step } from '../routing/plan-steps.ts'
import type { CostMeter } from '../rules/cost.ts'
import type { Rule } from '../rules/rule.ts'
import type { BehaviourLevel, CompiledBehaviour } from './behaviour.ts'

/**
 * The steps of a route for senders of a conduct. Their limits are multiplied, together with what scales them by the load:
 * of all that reduces, the least factor counts; where nothing reduces, the greatest. Quotas, limits of tiers and of
 * exemptions, and rates given by an override are left as they are.
 */
export function behaviourSteps(
  steps: readonly Step[],
  behaviourLevel: BehaviourLevel,
  { factors }: CompiledBehaviour,
): readonly Step[] {
  return steps.map(step => {
    if (step.kind !== 'limits') return step
    const rules = step.rules.map(planned => ({
      ...planned,
      rule: behavingRule(planned.rule, behaviourLevel, factors[behaviourLevel]),
    }))
    return { ...step, rules }
  })
}

/**
 * A rule for senders of a conduct. What their messages cost is divided by their part of the limit, so all conducts count in
 * the same record, and nothing that was used is given back or taken away when a conduct changes.
 */
function behavingRule(rule: Rule, behaviourLevel: BehaviourLevel, factor: number): Rule {
  if (rule.asWritten === true || rule.reason === 'quota_exceeded') return rule
  const limit = inFineUnits(rule.limit)
  if (limit === undefined) return rule
  const byLoad = rule.scaled?.factor ?? 1
  const both = byLoad < 1 || factor < 1 ? Math.min(byLoad, factor) : Math.max(byLoad, factor)
  if (both === byLoad) return { ...rule, limit }
  const room = both / byLoad
  const scaled = { factor: both, reason: `behaviour ${behaviourLevel}` }
  return { ...rule, limit, room, scaled, cost: costIn(rule.cost, room, limit.capacity) }
}

/** The part of units that senders of a conduct have; rounded down, so that a third of 12 is 4 although a third is no double. */
export function roomOf(units: number, room: number): number {
  return Math.floor(units * room * (1 + 1e-12))
}

/**
 * Costs under a part of a limit, in thousandths; rounded down, so that 0.3 of 100 are 30 messages and not 29. What fits the
 * whole limit still fits it.
 */
export function costIn(cost: CostMeter, room: number, capacity: number): CostMeter {
  const of = (units: number): number => {
    if (units > capacity || units <= 0) return units
    return Math.min(capacity, Math.max(1, Math.floor((units * 1000) / room + 1e-9)) / 1000)
  }
  return {
    ...(cost.fixed === undefined ? {} : { fixed: of(cost.fixed) }),
    fractional: true,
    unitsOf: (message: Message) => of(cost.unitsOf(message)),
  }
}

/** One object for each limit: whatever plan counts by it, it is the same. */
const FINE = new WeakMap<Limit, Limit | 'too large'>()

/** A limit in thousandths of units; undefined where it is too large for that, and stays as it is written. */
function inFineUnits(limit: Limit): Limit | undefined {
  let fine = FINE.get(limit)
  if (fine === undefined) {
    try {
      fine = inThousandths(limit)
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      fine = 'too large'
    }
    FINE.set(limit, fine)
  }
  return fine === 'too large' ? undefined : fine
}
