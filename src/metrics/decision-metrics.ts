import type { Analytics } from '../analytics/analytics.ts'
import {
  COUNTED_REASONS,
  type RuleCounters,
  type RuleTierCounters,
  sumOf,
} from '../analytics/rule-counters.ts'
import { OUTCOMES } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { RuleInfo } from '../outcomes/rule-info.ts'
import { type DecisionTimer, DURATION_BUCKETS } from './decision-timer.ts'
import type { Labels, MetricFamily, MetricSample } from './metric-family.ts'

const BY_TIER = 'Decisions by rule and tier of the sender; rule is empty if none applied.'

/** Rule and tier whose decisions are counted together; `counts` is undefined before the first decision. */
interface RuleTier {
  readonly rule: string
  readonly tier: string
  readonly counts: RuleTierCounters | undefined
}

/**
 * Returns the counters of decisions by rule, tier, reason and outcome. Those of a rule that is known begin at 0 and not
 * with the first decision. Why: `rate()` does not see the first value of a series.
 */
export function collectDecisionMetrics(analytics: Analytics): readonly MetricFamily[] {
  const known = new Map(analytics.knownRules().map(info => [info.name, info]))
  const counters = new Map(analytics.ruleCounters().map(each => [each.rule, each]))
  const rules = [...new Set([...counters.keys(), ...known.keys()])]
  const isDeciding = (rule: string): boolean => known.get(rule)?.isShadow !== true
  const all = withKnownTiers(analytics, rules.filter(isDeciding))
  const labelsOf = ({ rule, tier }: RuleTier): Labels => ({ rule, scope: analytics.scopeOf(rule), tier })
  const byReason = (
    pair: RuleTier,
    counts: Float64Array | undefined,
    usual: string | undefined,
  ): readonly MetricSample[] =>
    COUNTED_REASONS.flatMap((reason, index) => {
      const value = counts?.[index] ?? 0
      return value === 0 && reason !== usual ? [] : [{ labels: { ...labelsOf(pair), reason }, value }]
    })
  const byRule = (
    isKnown: (rule: RuleInfo) => boolean,
    count: (rule: RuleCounters) => number,
  ): readonly MetricSample[] =>
    rules.flatMap(rule => {
      const [info, counted] = [known.get(rule), counters.get(rule)]
      const value = counted === undefined ? 0 : count(counted)
      return value > 0 || (info !== undefined && isKnown(info)) ? [{ labels: { rule }, value }] : []
    })
  return [
    {
      name: 'topicgate_requests_total',
      help: `${BY_TIER} A message that waits and is checked again is counted again.`,
      type: 'counter',
      samples: all.map(pair => ({
        labels: labelsOf(pair),
        value: pair.counts === undefined ? 0 : sumOf(pair.counts.allowed) + sumOf(pair.counts.blocked),
      })),
    },
    {
      name: 'topicgate_allowed_total',
      help: `${BY_TIER} Allowed ones by reason.`,
      type: 'counter',
      samples: all.flatMap(pair => byReason(pair, pair.counts?.allowed, 'ok')),
    },
    {
      name: 'topicgate_blocked_total',
      help: `${BY_TIER} Denied or delayed ones by reason.`,
      type: 'counter',
      samples: all.flatMap(pair => byReason(pair, pair.counts?.blocked, known.get(pair.rule)?.reason)),
    },
    {
      name: 'topicgate_outcomes_total',
      help: 'Decisions by rule and outcome; rule is empty if none applied.',
      type: 'counter',
      samples: rules.flatMap(rule => {
        const [info, counted] = [known.get(rule), counters.get(rule)]
        return OUTCOMES.flatMap(outcome => {
          const value = counted === undefined ? 0 : sumSeries(counted, series => series.countOf(outcome))
          const isUsual = isDeciding(rule) && (outcome === 'deliver' || outcome === info?.exceeded.outcome)
          return value === 0 && !isUsual ? [] : [{ labels: { rule, outcome }, value }]
        })
      }),
    },
    {
      name: 'topicgate_shadow_total',
      help: 'Messages that a rule in shadow would have refused.',
      type: 'counter',
      samples: byRule(
        ({ shadowShare }) => shadowShare > 0,
        ({ shadowRefusals }) => shadowRefusals,
      ),
    },
    {
      name: 'topicgate_shadow_ratio',
      help: 'Share of the senders for which a rule is in shadow, 0 to 1.',
      type: 'gauge',
      samples: analytics
        .knownRules()
        .map(({ name: rule, shadowShare }) => ({ labels: { rule }, value: shadowShare })),
    },
    {
      name: 'topicgate_fallback_decisions_total',
      help: 'Decisions that the fallback of the store made, by rule.',
      type: 'counter',
      samples: byRule(
        ({ isShadow }) => !isShadow,
        rule => sumSeries(rule, ({ fallbacks }) => fallbacks),
      ),
    },
  ]
}

/** Returns the counters of the rules by tier, and the tiers of the policy for each rule unless that are too many. */
function withKnownTiers(analytics: Analytics, rules: readonly string[]): readonly RuleTier[] {
  const pairs = new Map<string, RuleTier>()
  const keyOf = (rule: string, tier: string): string => JSON.stringify([rule, tier])
  for (const counts of analytics.series()) {
    const { rule, tier } = counts
    pairs.set(keyOf(rule, tier), { rule, tier, counts })
  }
  const tiers = analytics.knownTiers()
  const expected = rules.length * tiers.length <= MAX_SIZES.metricRules ? tiers : []
  for (const rule of rules) {
    for (const tier of expected) {
      const key = keyOf(rule, tier)
      if (!pairs.has(key)) pairs.set(key, { rule, tier, counts: undefined })
    }
  }
  return [...pairs.values()]
}

/** Returns the histogram of the durations of decisions. */
export function collectDurationMetrics(durations: DecisionTimer | undefined): readonly MetricFamily[] {
  if (durations === undefined) return []
  const { counts, sumSeconds } = durations.counts()
  return [
    {
      name: 'topicgate_decision_duration_seconds',
      help: 'Duration of decisions. Only a sample of decisions is timed and counted here.',
      type: 'histogram',
      samples: [],
      histogram: { bounds: DURATION_BUCKETS, counts, sum: sumSeconds },
    },
  ]
}

function sumSeries(counters: RuleCounters, count: (series: RuleTierCounters) => number): number {
  let sum = 0
  for (const series of counters.series.values()) sum += count(series)
  return sum
}
