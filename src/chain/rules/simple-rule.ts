import { createLimit } from '../../algorithms/create-limit.ts'
import { HARSHNESS } from '../../core/decision.ts'
import type { Rate } from '../../core/units.ts'
import type { CostMeter } from './cost.ts'
import type { KeyMaker } from './key-scope.ts'
import type { Rule } from './rule.ts'

export interface SimpleRuleOptions {
  readonly keys: KeyMaker
  /** Default: a message costs one. */
  readonly cost?: CostMeter | undefined
  /** Counts in thousandths. */
  readonly fractional?: boolean | undefined
}

const ONE: CostMeter = { fixed: 1, fractional: false, unitsOf: () => 1 }

/**
 * A rule of nothing but a rate, as tiers and exemptions carry: a token bucket over what is published, which rejects, and is
 * meant as it is written. Throws PolicyError where the rate is no limit.
 */
export function simpleRule(
  name: string,
  { count, periodMs, burst }: Rate,
  { keys, cost = ONE, fractional = false }: SimpleRuleOptions,
): Rule {
  return {
    name,
    on: 'publish',
    limit: createLimit({
      ...{ name, algorithm: 'token-bucket', count, periodMs, fractional },
      ...(burst === undefined ? {} : { burst }),
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
    shadow: false,
    soft: false,
  }
}
