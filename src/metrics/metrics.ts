import type { Analytics } from '../analytics/analytics.ts'
import { COUNTED_REASONS, type RuleTierCounters, sumOf } from '../analytics/rule-counters.ts'
import type { MaybePromise } from '../core/message.ts'
import { type DecisionTimer, DURATION_BUCKETS } from './decision-durations.ts'

/** Part of a store that metrics read. */
export interface StoreHealthSource {
  readonly name: string
  health(): MaybePromise<{
    readonly ok: boolean
    readonly state?: 'closed' | 'open' | 'half-open' | undefined
    readonly keys?: number | undefined
    readonly evictions?: number | undefined
    readonly overflows?: number | undefined
  }>
}

/** Statistics of a guard; the `stats()` of an adapter fits too. */
export interface ObservedGuard {
  stats(): {
    readonly held: number
    readonly heldBytes?: number | undefined
    readonly overflowed?: number | undefined
    readonly superseded?: number | undefined
    readonly discarded?: number | undefined
    readonly fallbacks?: number | undefined
    readonly timeouts?: number | undefined
  }
}

/** Sources of metrics; omitted sources are not exposed. */
export interface MetricSources {
  readonly analytics: Analytics
  readonly durations?: DecisionTimer | undefined
  readonly store?: StoreHealthSource | undefined
  /** Their numbers are summed. */
  readonly guards?: readonly ObservedGuard[] | undefined
}

export type Labels = Readonly<Record<string, string>>

export interface MetricSample {
  readonly labels: Labels
  readonly value: number
}

/** Samples of one metric name; a histogram holds its buckets, sum and count. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: readonly MetricSample[]
  readonly histogram?:
    | {
        readonly bounds: readonly number[]
        readonly counts: readonly number[]
        readonly sum: number
      }
    | undefined
}

/**
 * Collects all metrics, for expositions other than {@link renderMetrics}. Never rejects; a failing store is reported
 * as down.
 */
export async function collectMetrics(sources: MetricSources): Promise<readonly MetricFamily[]> {
  return [
    ...decisionsOf(sources.analytics),
    ...durationsOf(sources.durations),
    ...(await storeOf(sources.store)),
    ...guardsOf(sources.guards),
  ]
}

function decisionsOf(analytics: Analytics): readonly MetricFamily[] {
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
  const helpText = 'Decisions by rule and tier of the sender; rule is empty if none applied.'
  return [
    {
      name: 'topicgate_requests_total',
      help: `${helpText} A message that waits and is checked again is counted again.`,
      type: 'counter',
      samples: all.map(series => ({
        labels: labelsOf(series),
        value: sumOf(series.allowed) + sumOf(series.blocked),
      })),
    },
    {
      name: 'topicgate_allowed_total',
      help: `${helpText} Allowed ones by reason.`,
      type: 'counter',
      samples: all.flatMap(series => byReason(series, series.allowed)),
    },
    {
      name: 'topicgate_blocked_total',
      help: `${helpText} Denied or delayed ones by reason.`,
      type: 'counter',
      samples: all.flatMap(series => byReason(series, series.blocked)),
    },
  ]
}

function durationsOf(durations: DecisionTimer | undefined): readonly MetricFamily[] {
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

async function storeOf(store: StoreHealthSource | undefined): Promise<readonly MetricFamily[]> {
  if (store === undefined) return []
  const labels = { store: store.name }
  const singleSample = (
    name: string,
    help: string,
    value: number | undefined,
    type: MetricFamily['type'] = 'gauge',
  ): MetricFamily[] => (value === undefined ? [] : [{ name, help, type, samples: [{ labels, value }] }])
  let health: Awaited<ReturnType<StoreHealthSource['health']>>
  try {
    health = await store.health()
  } catch {
    health = { ok: false }
  }
  const { ok, state, keys, evictions, overflows } = health
  return [
    ...singleSample('topicgate_store_up', '1 while the store itself decides, else 0.', ok ? 1 : 0),
    ...(state === undefined
      ? []
      : [
          {
            name: 'topicgate_store_breaker_state',
            help: 'State of the circuit breaker of the store: 1 for the current state.',
            type: 'gauge' as const,
            samples: ['closed', 'open', 'half-open'].map(each => ({
              labels: { ...labels, state: each },
              value: each === state ? 1 : 0,
            })),
          },
        ]),
    ...singleSample('topicgate_active_keys', 'Rate limit keys that the store keeps in this process.', keys),
    ...singleSample(
      'topicgate_evictions_total',
      'Keys evicted because a rule had too many.',
      evictions,
      'counter',
    ),
    ...singleSample(
      'topicgate_overflows_total',
      'Charges that shared a counter because a rule had too many keys.',
      overflows,
      'counter',
    ),
  ]
}

const GUARD = [
  ['held', 'topicgate_guard_held_messages', 'Messages held now.', 'gauge'],
  ['heldBytes', 'topicgate_guard_held_bytes', 'Payload bytes of messages held now.', 'gauge'],
  [
    'overflowed',
    'topicgate_guard_overflowed_total',
    'Messages refused because the hold queue was full.',
    'counter',
  ],
  [
    'superseded',
    'topicgate_guard_superseded_total',
    'Held messages replaced by a newer one of their topic.',
    'counter',
  ],
  [
    'discarded',
    'topicgate_guard_discarded_total',
    'Held messages discarded because their sender was gone.',
    'counter',
  ],
  [
    'fallbacks',
    'topicgate_guard_fallbacks_total',
    'Fallback decisions because the gate failed or was late.',
    'counter',
  ],
  ['timeouts', 'topicgate_guard_timeouts_total', 'Decisions that were late.', 'counter'],
] as const

function guardsOf(guards: readonly ObservedGuard[] | undefined): readonly MetricFamily[] {
  if (guards === undefined) return []
  const all = guards.map(guard => guard.stats())
  return GUARD.flatMap(([key, name, help, type]) => {
    const reporting = all.filter(stats => stats[key] !== undefined)
    if (reporting.length === 0) return []
    return [
      {
        name,
        help,
        type,
        samples: [{ labels: {}, value: reporting.reduce((sum, stats) => sum + stats[key]!, 0) }],
      },
    ]
  })
}
