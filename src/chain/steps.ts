import type { Pattern } from '../topic/pattern.ts'
import type { ExemptStation } from './exempt.ts'
import { type LimitStation, type Rule, STATION } from './limit.ts'
import type { Middleware } from './middleware.ts'

/** A middleware and the topics it stands for; undefined for every topic. */
export interface Entry {
  readonly pattern: Pattern | undefined
  readonly middleware: Middleware
}

/** A rule at its place in a plan. */
export interface PlannedRule {
  readonly rule: Rule
  readonly pattern: Pattern | undefined
  /** Its place among all rules of the plan. */
  readonly index: number
}

export interface ExemptStep {
  readonly kind: 'exempt'
  readonly station: ExemptStation
  /** The exemption's own limit. */
  readonly own: PlannedRule | undefined
}

/** Neighbouring limits, charged together in one atomic step. */
export interface LimitsStep {
  readonly kind: 'limits'
  readonly rules: readonly PlannedRule[]
}

export interface CustomStep {
  readonly kind: 'custom'
  readonly middleware: Middleware
}

export type Step = ExemptStep | LimitsStep | CustomStep

/** The station of a middleware made by `limit`, `quota` or `exempt`; undefined for any other. */
export function stationOf(middleware: Middleware): LimitStation | ExemptStation | undefined {
  return (middleware as { [STATION]?: LimitStation | ExemptStation })[STATION]
}

/**
 * The steps of a route in their order: higher priorities first, else the order of the list; what is disabled or
 * meant for another action is left out; a rule that stands in the list twice is charged once.
 */
export function planSteps(entries: readonly Entry[], action: string): readonly Step[] {
  const steps: Step[] = []
  const seen = new Set<Rule>()
  let rules: PlannedRule[] = []
  let count = 0
  for (const { pattern, middleware } of ordered(entries)) {
    const station = stationOf(middleware)
    if (station === undefined) {
      steps.push({ kind: 'custom', middleware })
      continue
    }
    if (!station.enabled) continue
    const { rule } = station
    const planned = rule === undefined ? undefined : { rule, pattern, index: count }
    if (station.kind === 'exempt') {
      steps.push({ kind: 'exempt', station, own: planned })
      if (planned !== undefined) count++
    } else if (planned !== undefined && planned.rule.on === action && !seen.has(planned.rule)) {
      seen.add(planned.rule)
      count++
      const last = steps.at(-1)
      if (last?.kind === 'limits') rules.push(planned)
      else {
        rules = [planned]
        steps.push({ kind: 'limits', rules })
      }
    }
  }
  return steps
}

function ordered(entries: readonly Entry[]): readonly Entry[] {
  const priorityOf = (entry: Entry): number => stationOf(entry.middleware)?.priority ?? 0
  return entries.toSorted((a, b) => priorityOf(b) - priorityOf(a))
}
