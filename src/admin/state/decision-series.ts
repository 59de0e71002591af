import type { Analytics } from '../../analytics/analytics.ts'
import { sumOf } from '../../analytics/rule-counters.ts'

/** Decisions of one step. */
export interface SeriesPoint {
  /** Start of the step. */
  readonly atMs: number
  readonly allowed: number
  readonly blocked: number
}

interface Totals {
  readonly allowed: number
  readonly blocked: number
}

/** Steps of series, with the number of points kept: 15 minutes by the second, 6 hours of ten seconds. */
export const SERIES_STEPS = { '1s': { ms: 1_000, kept: 900 }, '10s': { ms: 10_000, kept: 2_160 } } as const
export type SeriesStep = keyof typeof SERIES_STEPS

/** Points kept of one rule: an hour of ten seconds. */
const KEPT_PER_RULE = 360

/** Series of the decisions of all rules together, by the second, and of each rule, by ten seconds. */
export class DecisionSeries {
  readonly #analytics: Analytics
  readonly #points: Readonly<Record<SeriesStep, SeriesPoint[]>> = { '1s': [], '10s': [] }
  readonly #rules = new Map<string, { last: Totals; readonly points: SeriesPoint[] }>()
  #lastOf: Record<SeriesStep, Totals>
  #seconds = 0

  constructor(analytics: Analytics) {
    this.#analytics = analytics
    const totals = this.#totals()
    this.#lastOf = { '1s': totals, '10s': totals }
    for (const [rule, last] of this.#ruleTotals()) this.#rules.set(rule, { last, points: [] })
  }

  /** Ends a step of one second at `nowMs`. Returns its point. */
  sample(nowMs: number): SeriesPoint {
    const point = this.#append('1s', nowMs)
    if (++this.#seconds % 10 === 0) {
      this.#append('10s', nowMs)
      this.#sampleRules(nowMs)
    }
    return point
  }

  /** Returns the points since `sinceMs` of all decisions. */
  total(step: SeriesStep, sinceMs: number): readonly SeriesPoint[] {
    return this.#points[step].filter(({ atMs }) => atMs >= sinceMs)
  }

  /** Returns the points since `sinceMs` of a rule, in steps of ten seconds. */
  rule(name: string, sinceMs: number): readonly SeriesPoint[] {
    return (this.#rules.get(name)?.points ?? []).filter(({ atMs }) => atMs >= sinceMs)
  }

  #totals(): Totals {
    const { total, blocked } = this.#analytics.totals()
    return { allowed: total - blocked, blocked }
  }

  #append(step: SeriesStep, nowMs: number): SeriesPoint {
    const { ms, kept } = SERIES_STEPS[step]
    const totals = this.#totals()
    const point = { atMs: nowMs - ms, ...difference(totals, this.#lastOf[step]) }
    this.#lastOf[step] = totals
    appendBounded(this.#points[step], point, kept)
    return point
  }

  #sampleRules(nowMs: number): void {
    const totals = this.#ruleTotals()
    for (const rule of this.#rules.keys()) if (!totals.has(rule)) this.#rules.delete(rule)
    for (const [rule, total] of totals) {
      const series = this.#rules.get(rule) ?? { last: { allowed: 0, blocked: 0 }, points: [] }
      this.#rules.set(rule, series)
      const point = { atMs: nowMs - SERIES_STEPS['10s'].ms, ...difference(total, series.last) }
      series.last = total
      appendBounded(series.points, point, KEPT_PER_RULE)
    }
  }

  #ruleTotals(): ReadonlyMap<string, Totals> {
    const totals = new Map<string, Totals>()
    for (const { rule, allowed, blocked } of this.#analytics.series()) {
      const sum = totals.get(rule) ?? { allowed: 0, blocked: 0 }
      totals.set(rule, { allowed: sum.allowed + sumOf(allowed), blocked: sum.blocked + sumOf(blocked) })
    }
    return totals
  }
}

/** Returns the decisions between two readings. Counts that were reset meanwhile begin at 0. */
function difference(now: Totals, before: Totals): Totals {
  return {
    allowed: now.allowed - (now.allowed < before.allowed ? 0 : before.allowed),
    blocked: now.blocked - (now.blocked < before.blocked ? 0 : before.blocked),
  }
}

function appendBounded<T>(list: T[], item: T, most: number): void {
  list.push(item)
  if (list.length > most) list.shift()
}
