import type { Pattern } from '../../topic/pattern.ts'
import type { Middleware } from '../middleware-types.ts'
import { type LimitMeta, MIDDLEWARE_META, type Rule } from '../rules/create-limit-middleware.ts'
import type { CompiledExemption } from '../rules/exemption.ts'
import type { HandlerFeedbackMeta } from '../rules/handler-feedback-types.ts'
import { type ScaleMeta, scaleRule } from '../rules/load-scaling.ts'
import type { ResourceLimitMeta } from '../rules/resource-limit.ts'
import type { SizeLimitMeta, SizeRule } from '../rules/size-limit.ts'
import type { UnchangedMiddlewareMeta, UnchangedRuleInPlan } from '../rules/unchanged-payload-rule.ts'

/** A middleware and the pattern that it applies to; undefined for every topic. */
export interface ChainEntry {
  readonly pattern: Pattern | undefined
  readonly middleware: Middleware
  /** True for an exemption added at run time. */
  readonly isRuntime: boolean
}

/** A rule and its position in a plan. */
export interface RuleInPlan {
  readonly rule: Rule
  readonly pattern: Pattern | undefined
  /** Index among all rules of the plan. */
  readonly index: number
}

export interface ExemptStep {
  readonly kind: 'exempt'
  readonly meta: CompiledExemption
  /** Limit of the exemption itself. */
  readonly own: RuleInPlan | undefined
}

/** Adjacent limits, charged together in one atomic step. */
export interface LimitsStep {
  readonly kind: 'limits'
  readonly rules: readonly RuleInPlan[]
}

/** Adjacent maximum sizes, evaluated before the limits next to them. */
export interface SizesStep {
  readonly kind: 'sizes'
  readonly rules: readonly SizeRule[]
}

/** Adjacent `unchanged` rules, evaluated after the maximum sizes and before the limits next to them. */
export interface UnchangedStep {
  readonly kind: 'unchanged'
  readonly rules: readonly UnchangedRuleInPlan[]
}

export interface MiddlewareStep {
  readonly kind: 'custom'
  readonly middleware: Middleware
  readonly pattern: Pattern | undefined
  /** Metadata of middleware that uses handler results. */
  readonly handler: HandlerFeedbackMeta | undefined
}

export type PlanStep = ExemptStep | SizesStep | UnchangedStep | LimitsStep | MiddlewareStep

type BuiltInMeta =
  | LimitMeta
  | SizeLimitMeta
  | CompiledExemption
  | ScaleMeta
  | HandlerFeedbackMeta
  | ResourceLimitMeta
  | UnchangedMiddlewareMeta

/** Returns the metadata of built-in middleware; undefined for custom middleware. */
export function getMiddlewareMeta(middleware: Middleware): BuiltInMeta | undefined {
  return (middleware as { [MIDDLEWARE_META]?: BuiltInMeta })[MIDDLEWARE_META]
}

/**
 * Returns the steps of a route in evaluation order. Omits entries that are disabled or for another action. A
 * rule that occurs twice is charged once.
 */
export function planSteps(entries: readonly ChainEntry[], action: string): readonly PlanStep[] {
  const steps: PlanStep[] = []
  const seen = new Set<Rule>()
  let rules: RuleInPlan[] = []
  let count = 0
  const scaleOf = findScales(entries)
  for (const entry of ordered(entries)) {
    const { pattern, middleware } = entry
    const meta = getMiddlewareMeta(middleware)
    if (meta === undefined || meta.kind === 'handler') {
      steps.push({ kind: 'custom', middleware, pattern, handler: meta })
      continue
    }
    if (!meta.enabled || meta.kind === 'scale' || meta.kind === 'resource') continue
    if (meta.kind === 'size') {
      if (meta.size.on === action) addSize(steps, meta.size)
      continue
    }
    if (meta.kind === 'unchanged') {
      if (meta.unchanged.on === action) addUnchanged(steps, { rule: meta.unchanged, pattern, isAsked: true })
      continue
    }
    const { rule } = meta
    const planned = rule === undefined ? undefined : { rule, pattern, index: count }
    if (meta.kind === 'exempt') {
      const actionMeta = meta.metaFor(action)
      if (actionMeta === undefined) continue
      steps.push({ kind: 'exempt', meta: actionMeta, own: planned })
      if (planned !== undefined) count++
    } else if (planned !== undefined && planned.rule.on === action && !seen.has(planned.rule)) {
      seen.add(planned.rule)
      count++
      const scaled = scaleOf.get(entry)?.scaled()
      const placed = scaled === undefined ? planned : { ...planned, rule: scaleRule(planned.rule, scaled) }
      const last = steps.at(-1)
      if (last?.kind === 'limits') rules.push(placed)
      else {
        rules = [placed]
        steps.push({ kind: 'limits', rules })
      }
    }
  }
  return steps
}

/** Inserts a maximum size before the limits next to it. */
function addSize(steps: PlanStep[], size: SizeRule): void {
  const end = startOf(steps, ['unchanged', 'limits'])
  const before = steps[end - 1]
  if (before?.kind !== 'sizes') steps.splice(end, 0, { kind: 'sizes', rules: [size] })
  else if (!before.rules.includes(size)) steps[end - 1] = { ...before, rules: [...before.rules, size] }
}

/** Inserts an `unchanged` rule before the limits next to it. */
function addUnchanged(steps: PlanStep[], planned: UnchangedRuleInPlan): void {
  const end = startOf(steps, ['limits'])
  const before = steps[end - 1]
  if (before?.kind !== 'unchanged') steps.splice(end, 0, { kind: 'unchanged', rules: [planned] })
  else if (before.rules.every(({ rule }) => rule !== planned.rule))
    steps[end - 1] = { ...before, rules: [...before.rules, planned] }
}

/** Returns a step in which some rules only record what passes. */
export function recordingOnly(
  step: UnchangedStep,
  isSkipped: (planned: UnchangedRuleInPlan) => boolean,
): UnchangedStep {
  return {
    ...step,
    rules: step.rules.map(planned => (isSkipped(planned) ? { ...planned, isAsked: false } : planned)),
  }
}

/** Returns the index of the first of the last steps of some kinds. */
function startOf(steps: readonly PlanStep[], kinds: readonly PlanStep['kind'][]): number {
  return steps.findLastIndex(({ kind }) => !kinds.includes(kind)) + 1
}

/** Returns the nearest adaptive middleware before each entry in policy order, regardless of priorities. */
export function findScales(entries: readonly ChainEntry[]): ReadonlyMap<ChainEntry, ScaleMeta> {
  const scaleOf = new Map<ChainEntry, ScaleMeta>()
  let nearest: ScaleMeta | undefined
  for (const entry of entries) {
    const meta = getMiddlewareMeta(entry.middleware)
    if (meta?.kind === 'scale') nearest = meta
    else if (nearest !== undefined) scaleOf.set(entry, nearest)
  }
  return scaleOf
}

/**
 * Returns entries in evaluation order. Custom middleware keeps its position. Between two custom ones,
 * exemptions come first (runtime ones before others), then feedback, breakers and limits. Priorities order
 * exemptions among exemptions, and limits among adjacent limits.
 */
function ordered(entries: readonly ChainEntry[]): readonly ChainEntry[] {
  const order: ChainEntry[] = []
  let exemptions: ChainEntry[] = []
  let others: ChainEntry[] = []
  let limits: ChainEntry[] = []
  const closeLimits = (): void => {
    others.push(...limits.toSorted(byPriority))
    limits = []
  }
  const closeStretch = (): void => {
    closeLimits()
    const byRank = (a: ChainEntry, b: ChainEntry): number =>
      Number(b.isRuntime) - Number(a.isRuntime) || byPriority(a, b)
    order.push(...exemptions.toSorted(byRank), ...others)
    exemptions = []
    others = []
  }
  for (const entry of entries) {
    const meta = getMiddlewareMeta(entry.middleware)
    if (meta === undefined) {
      closeStretch()
      order.push(entry)
    } else if (meta.kind === 'exempt') exemptions.push(entry)
    else if (meta.kind === 'handler') {
      closeLimits()
      others.push(entry)
    } else limits.push(entry)
  }
  closeStretch()
  return order
}

function byPriority(a: ChainEntry, b: ChainEntry): number {
  return (getMiddlewareMeta(b.middleware)?.priority ?? 0) - (getMiddlewareMeta(a.middleware)?.priority ?? 0)
}
