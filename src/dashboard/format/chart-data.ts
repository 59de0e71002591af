import type { AlertList, AuditRecord, Series, SeriesPoint, Summary } from '../api/types.ts'

export const SPANS = ['15m', '1h', '6h', '24h', '7d'] as const
export type Span = (typeof SPANS)[number]

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

interface SpanInfo {
  readonly lengthMs: number
  /** Step of the series of the admin API; undefined if its summary has the points. */
  readonly step?: '1s' | '10s' | undefined
  readonly stepMs: number
  /** Length of a row of the table. */
  readonly rowMs: number
  /** Unit of the chart, and its length. */
  readonly unit: 's' | 'hour' | 'day'
  readonly unitMs: number
}

export const SPAN_INFO: Readonly<Record<Span, SpanInfo>> = {
  '15m': { lengthMs: 15 * MINUTE_MS, step: '1s', stepMs: 1_000, rowMs: MINUTE_MS, unit: 's', unitMs: 1_000 },
  '1h': { lengthMs: HOUR_MS, step: '10s', stepMs: 10_000, rowMs: 5 * MINUTE_MS, unit: 's', unitMs: 1_000 },
  '6h': {
    lengthMs: 6 * HOUR_MS,
    step: '10s',
    stepMs: 10_000,
    rowMs: 30 * MINUTE_MS,
    unit: 's',
    unitMs: 1_000,
  },
  '24h': { lengthMs: DAY_MS, stepMs: HOUR_MS, rowMs: HOUR_MS, unit: 'hour', unitMs: HOUR_MS },
  '7d': { lengthMs: 7 * DAY_MS, stepMs: DAY_MS, rowMs: DAY_MS, unit: 'day', unitMs: DAY_MS },
}

/** Returns the path of the series of a span; undefined if the summary has its points. */
export function seriesPath(span: Span): string | undefined {
  const { step } = SPAN_INFO[span]
  return step && `series?step=${step}&for=${span}`
}

/** Returns the points of a span, the oldest first. `ticks` are the latest points by the second. */
export function pointsOf(
  span: Span,
  series: Series | undefined,
  ticks: readonly SeriesPoint[],
  summary: Summary,
): readonly SeriesPoint[] {
  if (span === '24h') return summary.hourly.map(toPoint)
  if (span === '7d') return summary.daily.slice(-7).map(toPoint)
  // The series of the span chosen before, until the new one has arrived.
  const points = series?.stepMs === SPAN_INFO[span].stepMs ? series.points : []
  const lastMs = points.at(-1)?.atMs ?? 0
  return span === '15m' ? [...points, ...ticks.filter(({ atMs }) => atMs > lastMs)] : points
}

function toPoint({ startMs, total, blocked }: Summary['hourly'][number]): SeriesPoint {
  return { atMs: startMs, allowed: total - blocked, blocked }
}

/** A row of the table beside the chart. */
export interface ChartRow extends SeriesPoint {
  readonly marks: readonly ChartMark[]
}

/** Sums points and marks by rows of `rowMs`, the newest first. */
export function rowsOf(
  points: readonly SeriesPoint[],
  marks: readonly ChartMark[],
  rowMs: number,
): readonly ChartRow[] {
  const startOf = (atMs: number): number => (rowMs < HOUR_MS ? atMs - (atMs % rowMs) : atMs)
  const rows = new Map<number, ChartRow>()
  for (const { atMs, allowed, blocked } of points) {
    const startMs = startOf(atMs)
    const row = rows.get(startMs) ?? { atMs: startMs, allowed: 0, blocked: 0, marks: [] }
    rows.set(startMs, { ...row, allowed: row.allowed + allowed, blocked: row.blocked + blocked })
  }
  return [...rows.values()]
    .map(row => ({
      ...row,
      marks: marks.filter(({ atMs }) => atMs >= row.atMs && atMs < row.atMs + rowMs),
    }))
    .toReversed()
}

/** A change that the chart marks: of policy, bans, overrides, or an alert. */
export interface ChartMark {
  readonly atMs: number
  readonly kind: 'policy' | 'entry' | 'alert'
  readonly text: string
}

/** Returns the marks of a time span, the oldest first. */
export function marksOf(
  audit: readonly AuditRecord[],
  alerts: AlertList,
  policyAppliedAtMs: number,
  fromMs: number,
): readonly ChartMark[] {
  const changes = audit.map(({ atMs, kind, action, id, by }): ChartMark => {
    return { atMs, kind: kind === 'policy' ? 'policy' : 'entry', text: `${kind} ${action}: ${id}, by ${by}` }
  })
  const fired = [...alerts.firing, ...alerts.resolved].map(
    ({ sinceMs, text }): ChartMark => ({ atMs: sinceMs, kind: 'alert', text: `alert: ${text}` }),
  )
  const applied: ChartMark = { atMs: policyAppliedAtMs, kind: 'policy', text: 'policy applied' }
  return [...changes, ...fired, applied]
    .filter(({ atMs }) => atMs >= fromMs)
    .toSorted((left, right) => left.atMs - right.atMs)
}
