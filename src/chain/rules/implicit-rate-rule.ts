import { createLimit } from '../../algorithms/create-limit.ts'
import { HARSHNESS } from '../../core/decision.ts'
import type { Rate } from '../../core/units.ts'
import type { CostMeter } from './cost.ts'
import type { Rule } from './create-limit-middleware.ts'
import type { KeyMaker } from './key-scope.ts'

export interface SimpleRuleOptions {
  readonly keys: KeyMaker
  /** Default: one unit per message. */
  readonly cost?: CostMeter | undefined
  /** True to count in thousandths. */
  readonly fractional?: boolean | undefined
  /** Default: false. */
  readonly shadow?: boolean | undefined
}

const ONE: CostMeter = { fixed: 1, fractional: false, unitsOf: () => 1 }

/**
 * Creates a rule that consists of a rate only, for tiers and exemptions: a token bucket on publishes with
 * outcome reject. Behaviour levels do not change it. Throws PolicyError.
 */
export function createRateRule(
  name: string,
  { count, periodMs, burst }: Rate,
  { keys, cost = ONE, fractional = false, shadow = false }: SimpleRuleOptions,
): Rule {
  return {
    name,
    on: 'publish',
    limit: createLimit({
      name,
      algorithm: 'token-bucket',
      count,
      periodMs,
      fractional,
      burst,
    }),
    keys,
    cost,
    outcome: 'reject',
    exceeded: { outcome: 'reject' },
    unit: 'messages',
    harshness: HARSHNESS.reject,
    reason: 'rate_limit_exceeded',
    passed: 'ok',
    asWritten: true,
    usesPayload: false,
    shadow,
    soft: shadow,
  }
}
