import { MAX_SIZES } from '../core/max-sizes.ts'
import { HISTORY_DAYS, HISTORY_HOURS, SNAPSHOT_RANGES } from './combine-summaries.ts'
import { SPAN_LENGTHS, type SpanKind, SpanSummary, spanStart } from './span-summary.ts'

/** Number of spans kept per kind, including the open one. */
const KEPT: Readonly<Record<SpanKind, number>> = {
  slice: SNAPSHOT_RANGES['1h'].spans,
  hour: HISTORY_HOURS,
  day: HISTORY_DAYS,
}

/**
 * Summaries of the last hour, day and month. Counts go to the open slice, which is merged into hour and day when it
 * is over.
 */
export class AnalyticsHistory {
  open: SpanSummary
  readonly #closedSpans: Record<SpanKind, SpanSummary[]> = { slice: [], hour: [], day: [] }

  constructor(nowMs: number) {
    this.open = new SpanSummary('slice', spanStart('slice', nowMs), MAX_SIZES.analyticsNames)
  }

  /** Closes the open slice and opens the current one. */
  closeDueSpans(nowMs: number): void {
    const { open } = this
    this.open = new SpanSummary('slice', spanStart('slice', nowMs), MAX_SIZES.analyticsNames)
    this.#addClosed(open, nowMs)
  }

  /** Adds a slice that another process has counted. */
  add(slice: SpanSummary, nowMs: number): void {
    if (slice.startMs === this.open.startMs) this.open.merge(slice)
    else this.#addClosed(slice, nowMs)
  }

  /** Returns all slices, and forgets them. */
  drain(nowMs: number): readonly SpanSummary[] {
    const slices = [...this.#closedSpans.slice, this.open].filter(({ total }) => total > 0)
    for (const spans of Object.values(this.#closedSpans)) spans.length = 0
    this.open = new SpanSummary('slice', spanStart('slice', nowMs), MAX_SIZES.analyticsNames)
    return slices
  }

  #addClosed(slice: SpanSummary, nowMs: number): void {
    if (slice.total === 0) return
    for (const kind of ['slice', 'hour', 'day'] as const) {
      const spans = this.#closedSpans[kind]
      const startMs = spanStart(kind, slice.startMs)
      if (spans.at(-1)?.startMs !== startMs) spans.push(new SpanSummary(kind, startMs))
      spans.at(-1)!.merge(slice)
      const oldestMs = spanStart(kind, nowMs) - (KEPT[kind] - 1) * SPAN_LENGTHS[kind]
      while (spans.length > 0 && spans[0]!.startMs < oldestMs) spans.shift()
    }
    const days = this.#closedSpans.day
    for (const day of days.slice(0, -SNAPSHOT_RANGES['7d'].spans)) day.forgetNames()
  }

  /** Returns all summaries of every kind; the open slice is included in each. */
  summaries(): readonly SpanSummary[] {
    const { open } = this
    return (['slice', 'hour', 'day'] as const).flatMap(kind => {
      const spans = this.#closedSpans[kind]
      const sum = new SpanSummary(kind, spanStart(kind, open.startMs))
      const last = spans.at(-1)
      const begun = last?.startMs === sum.startMs
      if (begun) sum.merge(last)
      sum.merge(open)
      return [...(begun ? spans.slice(0, -1) : spans), sum]
    })
  }
}
