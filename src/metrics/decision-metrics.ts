import type { Analytics } from '../analytics/analytics.ts'
import {
  COUNTED_REASONS,
  type RuleCounters,
  type RuleTierCounters,
  sumOf,
} from '../analytics/rule-counters.ts'
import { OUTCOMES } from '../core/decision.ts'
import { type DecisionTimer, DURATION_BUCKETS } from './decision-durations.ts'
import type { Labels, MetricFamily, MetricSample } from './metric-family.ts'

const BY_TIER = 'Decisions by rule and tier of the sender; rule is empty if none applied.'

/** Returns the counters of decisions by rule, tier, reason and outcome. */
export function collectDecisionMetrics(analytics: Analytics): readonly MetricFamily[] {
  const all = analytics.series()
  const labelsOf = ({ rule, tier }: RuleTierCounters): Labels => ({
    rule,
    scope: analytics.scopeOf(rule),
    tier,
  })
  const byReason = (series: RuleTierCounters, counts: Float64Array): readonly MetricSample[] =>
    COUNTED_REASONS.flatMap((reason, place) => {
      const value = counts[place]!
      return value === 0 ? [] : [{ labels: { ...labelsOf(series), reason }, value }]
    })
  const rules = analytics.ruleCounters()
  const byRule = (count: (rule: RuleCounters) => number): readonly MetricSample[] =>
    rules.map(each => ({ labels: { rule: each.rule }, value: count(each) })).filter(({ value }) => value > 0)
  return [
    {
      name: 'topicgate_requests_total',
      help: `${BY_TIER} A message that waits and is checked again is counted again.`,
      type: 'counter',
      samples: all.map(series => ({
        labels: labelsOf(series),
        value: sumOf(series.allowed) + sumOf(series.blocked),
      })),
    },
    {
      name: 'topicgate_allowed_total',
      help: `${BY_TIER} Allowed ones by reason.`,
      type: 'counter',
      samples: all.flatMap(series => byReason(series, series.allowed)),
    },
    {
      name: 'topicgate_blocked_total',
      help: `${BY_TIER} Denied or delayed ones by reason.`,
      type: 'counter',
      samples: all.flatMap(series => byReason(series, series.blocked)),
    },
    {
      name: 'topicgate_outcomes_total',
      help: 'Decisions by rule and outcome; rule is empty if none applied.',
      type: 'counter',
      samples: rules.flatMap(counters =>
        OUTCOMES.flatMap(outcome => {
          const value = sumSeries(counters, series => series.countOf(outcome))
          return value === 0 ? [] : [{ labels: { rule: counters.rule, outcome }, value }]
        }),
      ),
    },
    {
      name: 'topicgate_shadow_total',
      help: 'Messages that a rule in shadow would have refused.',
      type: 'counter',
      samples: byRule(({ shadowRefusals }) => shadowRefusals),
    },
    {
      name: 'topicgate_fallback_decisions_total',
      help: 'Decisions that the fallback of the store made, by rule.',
      type: 'counter',
      samples: byRule(counters => sumSeries(counters, ({ fallbacks }) => fallbacks)),
    },
  ]
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
