import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { quote } from '../core/units.ts'
import { HeavyHitters, type NameCount } from './heavy-hitters.ts'
import { SPAN_LENGTHS, type SpanKind, SpanSummary, spanStart } from './span-summary.ts'

/** Ranges of a snapshot: the open span and those before, such as 12 of five minutes, 24 hours, 7 days. */
export const SNAPSHOT_RANGES = {
  '1h': { kind: 'slice', spans: 12 },
  '24h': { kind: 'hour', spans: 24 },
  '7d': { kind: 'day', spans: 7 },
} as const satisfies Readonly<Record<string, { kind: SpanKind; spans: number }>>
export type SnapshotRange = keyof typeof SNAPSHOT_RANGES

export const HISTORY_HOURS = 24
export const HISTORY_DAYS = 30
const TOP_COUNT = 10

/** Most refused names; counts are exact, or too high by at most `error`. */
export interface TopList {
  readonly error: number
  readonly list: readonly NameCount[]
}

/** Hour or day of the history. */
export interface PeriodTotals {
  readonly startMs: number
  readonly total: number
  readonly blocked: number
  readonly uniqueClients: number
}

/** Decisions of a range as plain JSON. */
export interface AnalyticsSnapshot {
  readonly range: SnapshotRange
  readonly fromMs: number
  readonly toMs: number
  /** Decisions; a message that waits and is checked again is counted again. */
  readonly total: number
  readonly blocked: number
  /** Blocked ÷ total, 0 to 1; 0 without decisions. */
  readonly blockRate: number
  /** Distinct clients, within 2 %. */
  readonly uniqueClients: number
  readonly topBlocked: { readonly clients: TopList; readonly topics: TopList; readonly rules: TopList }
  /** The last 24 hours and 30 days, oldest first, including empty ones; the last is still open. */
  readonly hourly: readonly PeriodTotals[]
  readonly daily: readonly PeriodTotals[]
}

/**
 * Combines summaries of any grains, spans and nodes into a snapshot of a range that ends now. Throws PolicyError for
 * an unknown range.
 */
export function combineSummaries(
  summaries: readonly SpanSummary[],
  range: SnapshotRange,
  nowMs: number,
): AnalyticsSnapshot {
  const { kind, fromMs } = spansOf(range, nowMs)
  const sum = new SpanSummary(kind, fromMs)
  for (const one of summaries) if (one.kind === kind && one.startMs >= fromMs) sum.merge(one)
  const { total, blocked, clients, topics, rules } = sum
  return {
    range,
    fromMs,
    toMs: nowMs,
    total,
    blocked,
    blockRate: total === 0 ? 0 : blocked / total,
    uniqueClients: sum.uniqueClients(),
    topBlocked: {
      clients: { error: clients.error, list: clients.top(TOP_COUNT) },
      topics: { error: topics.error, list: topics.top(TOP_COUNT) },
      rules: { error: rules.error, list: rules.top(TOP_COUNT) },
    },
    hourly: historyOf(summaries, 'hour', HISTORY_HOURS, nowMs),
    daily: historyOf(summaries, 'day', HISTORY_DAYS, nowMs),
  }
}

/** Lists the most refused clients of a range that ends now. Throws PolicyError for an unknown range. */
export function listRefusedClients(
  summaries: readonly SpanSummary[],
  range: SnapshotRange,
  nowMs: number,
  count: number,
): TopList {
  const { kind, fromMs } = spansOf(range, nowMs)
  const clients = new HeavyHitters(MAX_SIZES.analyticsNames)
  for (const one of summaries)
    if (one.kind === kind && one.startMs >= fromMs) clients.merge(one.clients.record())
  return { error: clients.error, list: clients.top(count) }
}

/** Returns the kind of the spans of a range and the start of the first. Throws PolicyError for an unknown range. */
function spansOf(range: SnapshotRange, nowMs: number): { readonly kind: SpanKind; readonly fromMs: number } {
  if (!Object.hasOwn(SNAPSHOT_RANGES, range)) {
    const remedy = `use ${Object.keys(SNAPSHOT_RANGES).join(', ')}`
    throw policyError('range', `${quote(range)} is not a range`, remedy)
  }
  const { kind, spans } = SNAPSHOT_RANGES[range]
  return { kind, fromMs: spanStart(kind, nowMs) - (spans - 1) * SPAN_LENGTHS[kind] }
}

function historyOf(
  summaries: readonly SpanSummary[],
  kind: SpanKind,
  spans: number,
  nowMs: number,
): readonly PeriodTotals[] {
  const lastMs = spanStart(kind, nowMs)
  return Array.from({ length: spans }, (_, index) => {
    const startMs = lastMs - (spans - 1 - index) * SPAN_LENGTHS[kind]
    const [first, ...more] = summaries.filter(one => one.kind === kind && one.startMs === startMs)
    if (first === undefined) return { startMs, total: 0, blocked: 0, uniqueClients: 0 }
    let sum = first
    if (more.length > 0) {
      sum = new SpanSummary(kind, startMs)
      for (const one of [first, ...more]) sum.merge(one)
    }
    return { startMs, total: sum.total, blocked: sum.blocked, uniqueClients: sum.uniqueClients() }
  })
}
