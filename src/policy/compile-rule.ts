import type { CustomAlgorithm } from '../algorithms/custom-algorithm-types.ts'
import { ALGORITHM_NAMES, type AlgorithmName } from '../algorithms/limit-types.ts'
import { limit, quota } from '../chain/rules/create-limit-middleware.ts'
import { BUILT_IN_SCOPES, findScopeProblem } from '../chain/rules/key-scope.ts'
import { RESOURCE_KINDS, type ResourceKind, resourceKindOf } from '../chain/rules/resource-limit.ts'
import type {
  ExceededSpec,
  InFlightOptions,
  LimitOptions,
  MessageSizeOptions,
  QuotaOptions,
  ResourceLimitOptions,
  RuleOptions,
  UnchangedPayloadOptions,
} from '../chain/rules/rule-options.ts'
import type { Dialect } from '../core/message.ts'
import { nearest } from '../core/option-names.ts'
import { parseBytes } from '../core/units.ts'
import { compileExceeded } from '../outcomes/exceeded.ts'
import { findRedirectProblem } from '../outcomes/redirect.ts'
import { parsePattern } from '../topic/pattern.ts'
import { createCollectingProblems, type ReportProblem, tryOrReport } from './collect-compile-problems.ts'
import type { CompiledRuleOptions, MiddlewareEntry } from './compiled-policy-types.ts'
import type { PolicyRule } from './schema.ts'

const LIMIT_OPTIONS = ['burst', 'initial', 'algorithm'] as const
const QUOTA_OPTIONS = ['window', 'zone'] as const

/** Prefixes of the names under which limits of exemptions, tiers and overrides are counted. */
const RESERVED_PREFIXES = ['exempt:', 'tier:', 'override:'] as const
const NAME = /^[^\p{Cc}\p{Cs}]{1,200}$/u

export interface RuleCompileContext {
  readonly dialect: Dialect
  /** True if the rule passed the schema. */
  readonly isValid: boolean
  /** Replaces a missing or invalid name. */
  readonly defaultName: string
  /** Custom algorithms, by name. */
  readonly algorithms: ReadonlyMap<string, CustomAlgorithm>
  readonly report: ReportProblem
}

export interface CompiledRuleEntry {
  readonly entry: MiddlewareEntry
  readonly rule: CompiledRuleOptions
  readonly captures: readonly string[]
}

/** Compiles one rule and reports its problems, with paths relative to the rule. */
export function compileRule(
  rule: Partial<PolicyRule>,
  context: RuleCompileContext,
): CompiledRuleEntry | undefined {
  const { dialect, isValid, report } = context
  checkCombination(rule, isValid, report)
  const { topic } = rule
  const pattern =
    topic === undefined ? undefined : tryOrReport(() => parsePattern(topic, dialect, 'topic'), report)
  const captures = pattern?.captures.map(({ name }) => name) ?? []
  if (topic === undefined || pattern) checkScopes(rule.per, captures, report)
  if (topic === undefined || pattern) checkRedirect(rule.exceeded, dialect, captures, report)
  const options = commonOptions(rule, context)
  const resource = resourceKindOf(rule)
  const isCounted = rule.limit !== undefined || rule.quota !== undefined
  const made =
    resource !== undefined
      ? compileResourceRule(rule, resource, context)
      : rule.inFlight !== undefined && !isCounted
        ? compileInFlight(rule, rule.inFlight, context)
        : rule.maxSize !== undefined && !isCounted
          ? compileMaxSize(rule, rule.maxSize, options, context)
          : rule.unchanged !== undefined && !isCounted
            ? compileUnchanged(rule, rule.unchanged, options, context)
            : rule.quota !== undefined && rule.limit === undefined
              ? compileQuota(rule, rule.quota, options, report)
              : compileLimit(rule, rule.limit ?? 'unlimited', options, context)
  if (!made) return undefined
  const entry = { pattern, middleware: made.middleware }
  const summary = topic === undefined ? made.rule : { ...made.rule, topic }
  return { entry, rule: summary, captures }
}

type CommonOptions = RuleOptions
type CompiledMiddleware = Pick<MiddlewareEntry, 'middleware'> & { readonly rule: CompiledRuleOptions }

function commonOptions(rule: Partial<PolicyRule>, context: RuleCompileContext): CommonOptions {
  const { description, on, per, cost, exceeded, message, shadow, fallback, enabled, priority } = rule
  const { warn, penalties, when, for: senders } = rule
  return {
    name: rule.name ?? context.defaultName,
    description,
    on,
    per,
    cost,
    exceeded,
    message,
    shadow,
    fallback,
    enabled,
    priority,
    warn,
    penalties,
    when,
    for: senders,
    dialect: context.dialect,
  } as CommonOptions
}

function compileLimit(
  rule: Partial<PolicyRule>,
  rate: string,
  common: CommonOptions,
  { algorithms, report }: RuleCompileContext,
): CompiledMiddleware | undefined {
  const { burst: written, initial } = rule
  const algorithm =
    rule.algorithm === undefined ? undefined : findAlgorithm(rule.algorithm, algorithms, report)
  const burst =
    written === undefined ? undefined : tryOrReport(() => parseBytes(written), atPath('burst', report))
  const options: LimitOptions = { ...common, rate, burst, initial, algorithm }
  const middleware = createCollectingProblems(limit, options, { rate: 'unlimited' }, problem => {
    const [first = '', ...rest] = (problem.path ?? '').split('.')
    // The rate is written under `limit`, which may include a burst.
    const inRate = first === 'rate' || (first === 'burst' && written === undefined)
    const remedy = problem.remedy ?? 'lower it, or raise the other'
    report({ ...problem, remedy, path: inRate || first === 'limit' ? 'limit' : [first, ...rest].join('.') })
  })
  return middleware && { middleware, rule: { kind: 'limit', options } }
}

/** Returns the algorithm of a name; reports an unknown name and returns undefined, which means the default. */
function findAlgorithm(
  name: string,
  own: ReadonlyMap<string, CustomAlgorithm>,
  report: ReportProblem,
): AlgorithmName | CustomAlgorithm | undefined {
  const builtIn = ALGORITHM_NAMES.filter(known => known !== 'quota')
  const found = builtIn.find(known => known === name) ?? own.get(name)
  if (found !== undefined) return found
  const known = [...builtIn, ...own.keys()]
  const near = nearest(name, known)
  const usual = `use one of ${known.join(', ')}`
  const message = `${JSON.stringify(name.length > 60 ? `${name.slice(0, 57)}…` : name)} is not an algorithm`
  report({
    path: 'algorithm',
    message,
    remedy: near === undefined ? usual : `did you mean ${near}? ${usual}`,
  })
  return undefined
}

function compileQuota(
  rule: Partial<PolicyRule>,
  rate: string,
  common: CommonOptions,
  report: ReportProblem,
): CompiledMiddleware | undefined {
  const options: QuotaOptions = { ...common, rate, window: rule.window, zone: rule.zone }
  const middleware = createCollectingProblems(quota, options, { rate: 'unlimited' }, problem => {
    const inRate = ['rate', 'limit', 'algorithm', 'burst'].includes(problem.path ?? '')
    report(inRate ? { ...problem, path: 'quota' } : problem)
  })
  return middleware && { middleware, rule: { kind: 'quota', options } }
}

/** Options of an in-flight limit. `shadow: false` keeps it in a policy in shadow. */
const IN_FLIGHT_OPTIONS: ReadonlySet<string> = new Set([
  ...['name', 'description', 'enabled', 'topic', 'per', 'inFlight', 'exceeded', 'on', 'limit', 'quota'],
])

function compileInFlight(
  rule: Partial<PolicyRule>,
  inFlight: number,
  { dialect, defaultName: placeholder, report }: RuleCompileContext,
): CompiledMiddleware | undefined {
  for (const [option, value] of Object.entries(rule)) {
    if (value === undefined || IN_FLIGHT_OPTIONS.has(option) || (option === 'shadow' && value === false))
      continue
    const remedy = 'remove it, or write a second rule: every matching rule is applied'
    report({ path: option, message: `\`${option}\` has no effect on \`inFlight\``, remedy })
  }
  if (rule.on !== undefined && rule.on !== 'publish')
    report({ path: 'on', message: '`inFlight` counts messages that are handled', remedy: 'remove `on`' })
  const { name = placeholder, description, per, exceeded, enabled } = rule
  const options = { name, inFlight, dialect, description, per, exceeded, enabled } as InFlightOptions
  const middleware = createCollectingProblems(limit, options, { exceeded: 'throttle' }, report)
  return middleware && { middleware, rule: { kind: 'inFlight', options } }
}

/**
 * Options of a limit of connections, subscriptions or retained messages, apart from its kind. `shadow: false` keeps it
 * in a policy in shadow.
 */
const RESOURCE_OPTIONS: ReadonlySet<string> = new Set([
  'name',
  'description',
  'enabled',
  'topic',
  'per',
  'exceeded',
  'on',
])

function compileResourceRule(
  rule: Partial<PolicyRule>,
  resource: ResourceKind,
  { dialect, defaultName: placeholder, report }: RuleCompileContext,
): CompiledMiddleware | undefined {
  for (const [option, value] of Object.entries(rule)) {
    if (value === undefined || RESOURCE_OPTIONS.has(option) || option === resource) continue
    if (option === 'shadow' && value === false) continue
    const remedy = 'remove it, or write a second rule: every matching rule is applied'
    report({ path: option, message: `\`${option}\` has no effect on \`${resource}\``, remedy })
  }
  if (resource === 'connections' && rule.topic !== undefined)
    report({ path: 'topic', message: 'a connection has no topic', remedy: 'remove `topic`' })
  const { name = placeholder, description, per, exceeded, enabled, on } = rule
  const options = {
    name,
    dialect,
    [resource]: rule[resource],
    description,
    per,
    exceeded,
    enabled,
    on,
  } as ResourceLimitOptions
  const middleware = createCollectingProblems(limit, options, { exceeded: 'reject', [resource]: 1 }, report)
  return middleware && { middleware, rule: { kind: 'resource', options } }
}

/** Options of a maximum size. */
const MAX_SIZE_OPTIONS: ReadonlySet<string> = new Set([
  ...['name', 'description', 'enabled', 'priority', 'topic', 'on', 'for', 'when', 'maxSize'],
  ...['exceeded', 'message', 'penalties', 'shadow', 'limit', 'quota', 'inFlight'],
])

function compileMaxSize(
  rule: Partial<PolicyRule>,
  maxSize: number | string,
  { warn: _warn, fallback: _fallback, per: _per, cost: _cost, ...common }: CommonOptions,
  { report }: RuleCompileContext,
): CompiledMiddleware | undefined {
  for (const [option, value] of Object.entries(rule)) {
    if (value === undefined || MAX_SIZE_OPTIONS.has(option)) continue
    const remedy = 'remove it, or write a second rule: every matching rule is applied'
    report({
      path: option,
      message: `\`${option}\` has no effect on \`maxSize\`, which counts nothing`,
      remedy,
    })
  }
  const options = { ...common, maxSize } as MessageSizeOptions
  const middleware = createCollectingProblems(limit, options, { maxSize: 0, exceeded: 'reject' }, report)
  return middleware && { middleware, rule: { kind: 'maxSize', options } }
}

/** Options of an `unchanged` rule. */
const UNCHANGED_OPTIONS: ReadonlySet<string> = new Set([
  ...['name', 'description', 'enabled', 'priority', 'topic', 'on', 'for', 'when', 'unchanged', 'upTo', 'per'],
  ...['shadow', 'exceeded', 'limit', 'quota', 'inFlight', 'maxSize'],
])

function compileUnchanged(
  rule: Partial<PolicyRule>,
  unchanged: 'drop' | 'reject',
  {
    warn: _warn,
    fallback: _fallback,
    cost: _cost,
    message: _message,
    penalties: _penalties,
    ...common
  }: CommonOptions,
  { report }: RuleCompileContext,
): CompiledMiddleware | undefined {
  for (const [option, value] of Object.entries(rule)) {
    if (value === undefined || UNCHANGED_OPTIONS.has(option)) continue
    const remedy = 'remove it, or write a second rule: every matching rule is applied'
    report({
      path: option,
      message: `\`${option}\` has no effect on \`unchanged\`, which counts nothing`,
      remedy,
    })
  }
  const options = { ...common, unchanged, upTo: rule.upTo } as UnchangedPayloadOptions
  const middleware = createCollectingProblems(limit, options, { unchanged: 'drop' }, report)
  return middleware && { middleware, rule: { kind: 'unchanged', options } }
}

function checkCombination(rule: Partial<PolicyRule>, isValid: boolean, report: ReportProblem): void {
  const { name } = rule
  if (name !== undefined && (RESERVED_PREFIXES.some(prefix => name.startsWith(prefix)) || !NAME.test(name))) {
    const message = `${JSON.stringify(name.slice(0, 60))} cannot be the name of a rule`
    const remedy = `use 1 to 200 printable characters, not beginning with ${RESERVED_PREFIXES.join(' or ')}`
    report({ path: 'name', message, remedy })
  }
  if (resourceKindOf(rule) !== undefined) return
  const isLimit = rule.limit !== undefined
  const isQuota = rule.quota !== undefined
  const bound = (['inFlight', 'maxSize', 'unchanged'] as const).find(option => rule[option] !== undefined)
  if (bound !== undefined) {
    const other = (['limit', 'quota', 'maxSize', 'unchanged'] as const).find(
      option => option !== bound && rule[option] !== undefined,
    )
    if (other !== undefined) {
      const remedy = 'write two rules: every matching rule is applied'
      report({ path: bound, message: `\`${other}\` and \`${bound}\` cannot be combined`, remedy })
    }
    return
  }
  if (rule.upTo !== undefined) {
    const remedy = 'remove it, or write exceeded: { throttle: { upTo: 30s } }'
    report({ path: 'upTo', message: '`upTo` has an effect on `unchanged` alone', remedy })
  }
  if (isLimit && isQuota) {
    const remedy = 'write two rules: every matching rule is applied'
    report({ path: 'quota', message: '`limit` and `quota` cannot be combined', remedy })
  } else if (!isLimit && !isQuota) {
    if (isValid) {
      const remedy = `add one, such as limit: 10/s, quota: 10000/day, maxSize: 256kB, unchanged: drop or inFlight: 5; or one of ${RESOURCE_KINDS.join(', ')}`
      report({ path: '', message: 'the rule has neither `limit` nor `quota`', remedy })
    }
    return
  }
  for (const option of isLimit ? QUOTA_OPTIONS : LIMIT_OPTIONS) {
    if (rule[option] === undefined || (isLimit && isQuota)) continue
    const [mine, other] = isLimit ? ['limit', 'quota'] : ['quota', 'limit']
    const message = `\`${option}\` has no effect on a ${mine}`
    report({ path: option, message, remedy: `remove it, or write ${other} instead of ${mine}` })
  }
}

/** Reports invalid scopes, with paths below `per`. */
export function checkScopes(
  per: PolicyRule['per'],
  captures: readonly string[],
  report: ReportProblem,
): void {
  const scopes = per === undefined ? [] : typeof per === 'string' ? [per] : per
  scopes.forEach((scope, index) => {
    const problem = findScopeProblem(scope, captures)
    if (problem === undefined) return
    const [message = problem, known] = problem.split('; ')
    const near = nearest(scope, [...BUILT_IN_SCOPES, ...captures])
    const remedy =
      near === undefined ? (known ?? 'use another') : `did you mean ${near}? ${known ?? ''}`.trim()
    report({ path: typeof per === 'string' ? 'per' : `per[${index}]`, message, remedy })
  })
}

/** Checks captures in a redirect topic; the rest is checked when the rule is created, where captures are unknown. */
function checkRedirect(
  exceeded: PolicyRule['exceeded'],
  dialect: Dialect,
  captures: readonly string[],
  report: ReportProblem,
): void {
  if (typeof exceeded !== 'object' || !('redirect' in exceeded)) return
  const path = 'exceeded.redirect.to'
  let problem: string | undefined
  try {
    problem = findRedirectProblem(compileExceeded(exceeded as ExceededSpec, dialect).redirect, captures)
  } catch {
    return
  }
  if (problem === undefined) return
  const [message = problem, remedy = 'use another'] = problem.split('; ')
  report({ path, message, remedy })
}

function atPath(path: string, report: ReportProblem): ReportProblem {
  return problem => report({ ...problem, path })
}
