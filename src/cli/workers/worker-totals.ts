import type { SenderRateReport } from '../../admin/state/sender-rates.ts'
import { HeavyHitters } from '../../analytics/heavy-hitters.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MetricFamily } from '../../index.ts'

const STATS = [
  'connections',
  'held',
  'heldBytes',
  'overflowed',
  'superseded',
  'discarded',
  'fallbacks',
  'timeouts',
] as const
/** Statistics that show a state, not a count since the start. */
const STATES: ReadonlySet<string> = new Set(['connections', 'held', 'heldBytes'])

/** Numbers of a server that add up over workers. */
export type WorkerStats = { readonly [Name in (typeof STATS)[number]]: number }

/** Returns the numbers that add up; 0 for those that a server does not have. */
export function pickStats(
  stats: Partial<Readonly<Record<keyof WorkerStats, number | undefined>>>,
): WorkerStats {
  return Object.fromEntries(STATS.map(name => [name, stats[name] ?? 0])) as WorkerStats
}

export function sumStats(all: readonly WorkerStats[]): WorkerStats {
  return Object.fromEntries(
    STATS.map(name => [name, all.reduce((sum, stats) => sum + stats[name], 0)]),
  ) as WorkerStats
}

/** Returns what remains of the numbers of an ended worker: its counts since the start. */
export function keepCounts(stats: WorkerStats): WorkerStats {
  return Object.fromEntries(STATS.map(name => [name, STATES.has(name) ? 0 : stats[name]])) as WorkerStats
}

/** Returns the counters of an ended worker. Counters must not fall when it is replaced. */
export function keepCounters(families: readonly MetricFamily[]): readonly MetricFamily[] {
  return families.filter(({ type }) => type !== 'gauge')
}

/** Sums up the metrics of several processes; of gauges that say whether something is healthy, returns the least. */
export function sumFamilies(lists: readonly (readonly MetricFamily[])[]): readonly MetricFamily[] {
  const sums = new Map<
    string,
    { family: MetricFamily; samples: Map<string, MetricFamily['samples'][number]> }
  >()
  for (const family of lists.flat()) {
    const sum = sums.get(family.name) ?? { family, samples: new Map() }
    sums.set(family.name, sum)
    const combine = family.name.endsWith('_healthy') ? Math.min : add
    for (const { labels, value } of family.samples) {
      const id = JSON.stringify(labels)
      const known = sum.samples.get(id)
      sum.samples.set(id, { labels, value: known === undefined ? value : combine(known.value, value) })
    }
  }
  return Array.from(sums.values(), ({ family, samples }) => ({ ...family, samples: [...samples.values()] }))
}

/** Combines measurements of the busiest senders. */
export function combineRates(reports: readonly SenderRateReport[]): SenderRateReport {
  const counts = new HeavyHitters(MAX_SIZES.analyticsNames)
  for (const { error, senders } of reports)
    counts.merge({ error, least: senders.map(({ name, count }) => [name, count - error]) })
  return {
    measuredMs: Math.max(0, ...reports.map(({ measuredMs }) => measuredMs)),
    error: counts.error,
    senders: counts.top(MAX_SIZES.adminListedSenders),
  }
}

function add(one: number, other: number): number {
  return one + other
}
