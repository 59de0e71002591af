import type { MetricFamily } from './metric-family.ts'

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

/** Returns the metrics of guards, summed. */
export function collectGuardMetrics(guards: readonly ObservedGuard[] | undefined): readonly MetricFamily[] {
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
