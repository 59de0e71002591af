import { usesPayload } from '../../conditions/compile.ts'
import { HARSHNESS, type Outcome } from '../../core/decision.ts'
import { policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Dialect, Operation } from '../../core/message.ts'
import { findRedirectProblem } from '../../outcomes/redirect.ts'
import type { RuleInfo } from '../../outcomes/rule-info.ts'
import type { Pattern } from '../../topic/pattern.ts'
import type { Middleware } from '../middleware-types.ts'
import type { CompiledPenalty } from '../rules/compile-penalty.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import type { HandlerFeedbackMeta } from '../rules/handler-feedback-types.ts'
import { findScopeProblem } from '../rules/key-scope.ts'
import type { ResourceLimitMeta } from '../rules/resource-limit.ts'
import { ruleInfoOf, ruleInfoOfSizeRule, unchangedInfoOf } from '../rules/rule-info.ts'
import { shadowShareOf } from '../rules/shadow.ts'
import type { SizeRule } from '../rules/size-limit.ts'
import type { UnchangedRule } from '../rules/unchanged-payload-rule.ts'
import { type ChainEntry, getMiddlewareMeta } from './plan-steps.ts'

/** Kinds of middleware with state: handler results, load, held items and last payloads. */
const STATEFUL: ReadonlySet<string> = new Set(['handler', 'scale', 'resource', 'unchanged'])

/** All middleware of a gate in order, with the checks that involve several rules. */
export class RuleRegistry {
  readonly dialect: Dialect
  readonly entries: ChainEntry[] = []
  /** Entries whose state outlives a change of the chain, or is kept outside of it. Limits and exemptions are not among them. */
  readonly statefulEntries: ChainEntry[] = []
  /** Counted rules, including exemptions with a limit of their own. */
  readonly #rules = new Map<string, Rule>()
  readonly #limits = new Set<Rule>()
  readonly #ruleInfos = new Map<string, RuleInfo>()
  /** Names of limits of held items. */
  readonly #resources = new Set<string>()
  readonly #sizes = new Map<string, SizeRule>()
  readonly #unchanged = new Map<string, UnchangedRule>()
  /** Known answers of `usesPayload`, until an entry is added. */
  readonly #usesPayload = new Map<Operation, boolean>()

  constructor(dialect: Dialect) {
    this.dialect = dialect
  }

  /** Adds a middleware for a pattern or for every topic. Throws PolicyError. */
  add(pattern: Pattern | undefined, middleware: Middleware, isRuntime = false): void {
    const meta = getMiddlewareMeta(middleware)
    this.#usesPayload.clear()
    if (meta?.kind === 'handler') this.handlers.push(meta)
    if (meta?.kind === 'resource') this.#addResource(meta, pattern)
    if (meta?.rule !== undefined) {
      this.#addRule(meta.rule, pattern)
      if (meta.kind === 'limit') this.#limits.add(meta.rule)
    }
    if (meta?.kind === 'size') this.#addSize(meta.size, pattern)
    if (meta?.kind === 'unchanged') this.#addUnchanged(meta.unchanged, pattern)
    const entry = { pattern, middleware, isRuntime }
    this.entries.push(entry)
    if (meta !== undefined && STATEFUL.has(meta.kind)) this.statefulEntries.push(entry)
  }

  /** Adds the limit of a tier, which applies to every topic and counts by sender. Throws PolicyError. */
  addTier(rule: Rule): void {
    if (this.#ruleInfos.has(rule.name)) {
      throw policyError('name', `two rules are called "${rule.name}"`, 'give each its own name')
    }
    this.#rules.set(rule.name, rule)
    this.#limits.add(rule)
    this.#ruleInfos.set(rule.name, ruleInfoOf(rule, undefined))
  }

  /** Returns the rule that counts under a name. */
  countedRule(name: string): Rule | undefined {
    return this.#rules.get(name)
  }

  /** Returns the penalty of a rule, if it has its own. */
  penaltyOf(name: string): CompiledPenalty | undefined {
    return (this.#rules.get(name) ?? this.#sizes.get(name))?.penalty
  }

  /** Middleware that uses handler results. */
  readonly handlers: HandlerFeedbackMeta[] = []

  /** True if any rule has a penalty of its own. */
  hasPenalties = false

  /** Rules in policy order. */
  get limits(): readonly Rule[] {
    return [...this.#limits]
  }

  /** Names of all rules in order; rules of tiers come last. */
  get ruleNames(): readonly string[] {
    const counted = new Set([...this.#limits].map(({ name }) => name))
    return [...this.#ruleInfos.keys()].filter(name => counted.has(name) || this.#isUncounted(name))
  }

  /** Names under which anything is counted. */
  get names(): ReadonlySet<string> {
    return new Set(this.#rules.keys())
  }

  ruleOf(name: string): RuleInfo | undefined {
    return this.#ruleInfos.get(name)
  }

  /** Returns every outcome that a rule or a handler middleware may lead to, with their names. */
  outcomes(on?: Operation): ReadonlyMap<Outcome, readonly string[]> {
    const outcomes = new Map<Outcome, string[]>()
    const matching = [...this.#limits, ...this.#sizes.values(), ...this.#unchanged.values()].filter(
      rule => shadowShareOf(rule) < 1 && (on ?? rule.on) === rule.on,
    )
    const handlers = on === undefined || on === 'publish' ? this.handlers : []
    for (const { outcome, name } of [...matching, ...handlers]) {
      const names = outcomes.get(outcome)
      if (names === undefined) outcomes.set(outcome, [name])
      else names.push(name)
    }
    return new Map([...outcomes].sort(([a], [b]) => HARSHNESS[a] - HARSHNESS[b]))
  }

  /** Returns true if a decision may depend on a payload itself, and not only on its size. */
  usesPayload(on: Operation): boolean {
    let known = this.#usesPayload.get(on)
    if (known === undefined) {
      known = this.#findUseOfPayload(on)
      this.#usesPayload.set(on, known)
    }
    return known
  }

  #findUseOfPayload(on: Operation): boolean {
    if ([...this.#rules.values()].some(rule => rule.on === on && rule.usesPayload)) return true
    return this.entries.some(({ middleware }) => {
      const meta = getMiddlewareMeta(middleware)
      if (meta === undefined) return true
      if (meta.kind === 'unchanged') return meta.unchanged.on === on
      const when = meta.kind === 'size' ? meta.size.whenSpec : meta.kind === 'exempt' && meta.options.when
      return when ? usesPayload(when) : false
    })
  }

  #addResource({ name, limit }: ResourceLimitMeta, pattern: Pattern | undefined): void {
    if (this.#rules.has(name) || this.#resources.has(name) || this.#isUncounted(name))
      throw policyError('name', `two rules are called "${name}"`, 'give each its own name')
    const captures = pattern?.captures.map(capture => capture.name) ?? []
    for (const scope of limit.keys.scopes) {
      const problem = findScopeProblem(scope, captures)
      if (problem !== undefined) throw policyError('per', problem)
    }
    this.#resources.add(name)
  }

  #addSize(size: SizeRule, pattern: Pattern | undefined): void {
    this.#checkNameAndCount(size)
    this.#checkRedirect(size, pattern?.captures.map(({ name }) => name) ?? [])
    this.#sizes.set(size.name, size)
    if (size.penalty !== undefined) this.hasPenalties = true
    if (!this.#ruleInfos.has(size.name)) this.#ruleInfos.set(size.name, ruleInfoOfSizeRule(size, pattern))
  }

  #addUnchanged(rule: UnchangedRule, pattern: Pattern | undefined): void {
    this.#checkNameAndCount(rule)
    const captures = pattern?.captures.map(({ name }) => name) ?? []
    for (const scope of rule.keys.scopes) {
      const problem = findScopeProblem(scope, captures)
      if (problem !== undefined) throw policyError('per', problem)
    }
    this.#unchanged.set(rule.name, rule)
    if (!this.#ruleInfos.has(rule.name)) this.#ruleInfos.set(rule.name, unchangedInfoOf(rule, pattern))
  }

  /** Reports whether a name is that of a rule that counts nothing. */
  #isUncounted(name: string): boolean {
    return this.#sizes.has(name) || this.#unchanged.has(name)
  }

  #checkNameAndCount(rule: Rule | SizeRule | UnchangedRule): void {
    const { name } = rule
    const other = this.#rules.get(name) ?? this.#sizes.get(name) ?? this.#unchanged.get(name)
    if ((other !== undefined && other !== rule) || this.#resources.has(rule.name)) {
      throw policyError('name', `two rules are called "${rule.name}"`, 'give each its own name')
    }
    if (this.#rules.size + this.#sizes.size + this.#unchanged.size >= MAX_SIZES.rules) {
      throw policyError(
        'rules',
        `more than ${MAX_SIZES.rules} rules`,
        'count by captures instead of listing topics',
      )
    }
  }

  #checkRedirect({ exceeded }: Pick<Rule, 'exceeded'>, captures: readonly string[]): void {
    const problem = findRedirectProblem(exceeded.redirect, captures)
    if (problem !== undefined) throw policyError('exceeded.redirect.to', problem)
  }

  #addRule(rule: Rule, pattern: Pattern | undefined): void {
    this.#checkNameAndCount(rule)
    const captures = pattern?.captures.map(({ name }) => name) ?? []
    for (const scope of rule.keys.scopes) {
      const problem = findScopeProblem(scope, captures)
      if (problem !== undefined) throw policyError('per', problem)
    }
    this.#checkRedirect(rule, captures)
    this.#rules.set(rule.name, rule)
    if (rule.penalty !== undefined) this.hasPenalties = true
    if (!this.#ruleInfos.has(rule.name)) this.#ruleInfos.set(rule.name, ruleInfoOf(rule, pattern))
  }
}
