import type { CustomAlgorithm } from '../algorithms/algorithm.ts'
import { ALGORITHMS, type AlgorithmName } from '../algorithms/limit.ts'
import { HELD_KINDS, type HeldKind, heldKindOf } from '../chain/rules/held-limit.ts'
import { findScopeProblem, SCOPE_WORDS } from '../chain/rules/key-scope.ts'
import { limit, quota } from '../chain/rules/rule.ts'
import type {
  Exceeded,
  HeldOptions,
  InFlightOptions,
  LimitOptions,
  QuotaOptions,
  RuleOptions,
  SizeOptions,
} from '../chain/rules/rule-options.ts'
import type { Dialect } from '../core/message.ts'
import { parseBytes } from '../core/units.ts'
import { compileExceeded } from '../outcomes/exceeded.ts'
import { findRedirectProblem } from '../outcomes/redirect.ts'
import { parsePattern } from '../topic/pattern.ts'
import type { CompiledEntry, CompiledRule } from './policy-types.ts'
import { attempt, makeOrReport, type Report } from './problem-report.ts'
import type { PolicyRule } from './schema.ts'
import { nearest } from './suggest.ts'

const ONLY_OF_LIMITS = ['burst', 'initial', 'algorithm'] as const
const ONLY_OF_QUOTAS = ['window', 'zone'] as const

/** What the limits of exemptions, tiers and overrides are counted under. */
const RESERVED = ['exempt:', 'tier:', 'override:'] as const
const NAME = /^[^\p{Cc}\p{Cs}]{1,200}$/u

export interface RuleContext {
  readonly dialect: Dialect
  /** Whether the schema had nothing to say against the rule. */
  readonly sound: boolean
  /** Stands for a name that is missing or wrong. */
  readonly placeholder: string
  /** The user's own, by name. */
  readonly algorithms: ReadonlyMap<string, CustomAlgorithm>
  readonly report: Report
}

export interface MadeRule {
  readonly entry: CompiledEntry
  readonly rule: CompiledRule
  readonly captures: readonly string[]
}

/** Compiles one rule; what is wrong is reported, with paths relative to the rule. */
export function compileRule(rule: Partial<PolicyRule>, context: RuleContext): MadeRule | undefined {
  const { dialect, sound, report } = context
  checkWords(rule, sound, report)
  const { topic } = rule
  const pattern =
    topic === undefined ? undefined : attempt(() => parsePattern(topic, dialect, 'topic'), report)
  const captures = pattern?.captures.map(({ name }) => name) ?? []
  if (topic === undefined || pattern) checkScopes(rule.per, captures, report)
  if (topic === undefined || pattern) checkRedirect(rule.exceeded, dialect, captures, report)
  const options = commonOptions(rule, context)
  const held = heldKindOf(rule)
  const isCounted = rule.limit !== undefined || rule.quota !== undefined
  const made =
    held !== undefined
      ? makeHeld(rule, held, context)
      : rule.inFlight !== undefined && !isCounted
        ? makeInFlight(rule, rule.inFlight, context)
        : rule.maxSize !== undefined && !isCounted
          ? makeMaxSize(rule, rule.maxSize, options, context)
          : rule.quota !== undefined && rule.limit === undefined
            ? makeQuota(rule, rule.quota, options, report)
            : makeLimit(rule, rule.limit ?? 'unlimited', options, context)
  if (!made) return undefined
  const entry = { pattern: pattern?.text, middleware: made.middleware }
  const summary = topic === undefined ? made.rule : { ...made.rule, topic }
  return { entry, rule: summary, captures }
}

type Common = RuleOptions
type Made = Pick<CompiledEntry, 'middleware'> & { readonly rule: CompiledRule }

function commonOptions(rule: Partial<PolicyRule>, context: RuleContext): Common {
  const { description, on, per, cost, exceeded, message, shadow, fallback, enabled, priority } = rule
  const { warn, penalties, when, for: senders } = rule
  const given = {
    ...{ description, on, per, cost, exceeded, message, shadow, fallback, enabled, priority },
    ...{ warn, penalties, when, for: senders },
    dialect: context.dialect,
  }
  return { name: rule.name ?? context.placeholder, ...defined(given) } as Common
}

function makeLimit(
  rule: Partial<PolicyRule>,
  rate: string,
  common: Common,
  { algorithms, report }: RuleContext,
): Made | undefined {
  const { burst: written, initial } = rule
  const algorithm = rule.algorithm === undefined ? undefined : algorithmOf(rule.algorithm, algorithms, report)
  const burst =
    written === undefined ? undefined : attempt(() => parseBytes(written), inside('burst', report))
  const options: LimitOptions = { ...common, rate, ...defined({ burst, initial, algorithm }) }
  const middleware = makeOrReport(limit, options, { rate: 'unlimited' }, problem => {
    const [first = '', ...rest] = (problem.path ?? '').split('.')
    // What the rate says is written under `limit`, and a burst may be part of it.
    const inRate = first === 'rate' || (first === 'burst' && written === undefined)
    const remedy = problem.remedy ?? 'lower it, or raise the other'
    report({ ...problem, remedy, path: inRate || first === 'limit' ? 'limit' : [first, ...rest].join('.') })
  })
  return middleware && { middleware, rule: { kind: 'limit', options } }
}

/** The algorithm a name stands for; an unknown one is reported, and stands for the default. */
function algorithmOf(
  name: string,
  own: ReadonlyMap<string, CustomAlgorithm>,
  report: Report,
): AlgorithmName | CustomAlgorithm | undefined {
  const builtIn = ALGORITHMS.filter(known => known !== 'quota')
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

function makeQuota(
  rule: Partial<PolicyRule>,
  rate: string,
  common: Common,
  report: Report,
): Made | undefined {
  const options: QuotaOptions = { ...common, rate, ...defined({ window: rule.window, zone: rule.zone }) }
  const middleware = makeOrReport(quota, options, { rate: 'unlimited' }, problem => {
    const inRate = ['rate', 'limit', 'algorithm', 'burst'].includes(problem.path ?? '')
    report(inRate ? { ...problem, path: 'quota' } : problem)
  })
  return middleware && { middleware, rule: { kind: 'quota', options } }
}

/** The options of a limit of handlers at work. */
const OF_IN_FLIGHT: ReadonlySet<string> = new Set([
  ...['name', 'description', 'enabled', 'topic', 'per', 'inFlight', 'exceeded', 'on', 'limit', 'quota'],
])

function makeInFlight(
  rule: Partial<PolicyRule>,
  inFlight: number,
  { dialect, placeholder, report }: RuleContext,
): Made | undefined {
  for (const [word, value] of Object.entries(rule)) {
    if (value === undefined || OF_IN_FLIGHT.has(word)) continue
    const remedy = 'remove it, or write a second rule: every rule that matches is asked'
    report({ path: word, message: `\`${word}\` has no effect on \`inFlight\``, remedy })
  }
  if (rule.on !== undefined && rule.on !== 'publish')
    report({ path: 'on', message: '`inFlight` counts messages that are handled', remedy: 'remove `on`' })
  const { name = placeholder, description, per, exceeded, enabled } = rule
  const options = {
    ...{ name, inFlight, dialect },
    ...defined({ description, per, exceeded, enabled }),
  } as InFlightOptions
  const middleware = makeOrReport(limit, options, { exceeded: 'throttle' }, report)
  return middleware && { middleware, rule: { kind: 'inFlight', options } }
}

/** Words of a limit of what a broker holds, besides its kind. */
const OF_HELD: ReadonlySet<string> = new Set([
  'name',
  'description',
  'enabled',
  'topic',
  'per',
  'exceeded',
  'on',
])

function makeHeld(
  rule: Partial<PolicyRule>,
  held: HeldKind,
  { dialect, placeholder, report }: RuleContext,
): Made | undefined {
  for (const [word, value] of Object.entries(rule)) {
    if (value === undefined || OF_HELD.has(word) || word === held) continue
    const remedy = 'remove it, or write a second rule: every rule that matches is asked'
    report({ path: word, message: `\`${word}\` has no effect on \`${held}\``, remedy })
  }
  if (held === 'connections' && rule.topic !== undefined)
    report({ path: 'topic', message: 'a connection has no topic', remedy: 'remove `topic`' })
  const { name = placeholder, description, per, exceeded, enabled, on } = rule
  const options = {
    ...{ name, dialect, [held]: rule[held] },
    ...defined({ description, per, exceeded, enabled, on }),
  } as HeldOptions
  const middleware = makeOrReport(limit, options, { exceeded: 'reject', [held]: 1 }, report)
  return middleware && { middleware, rule: { kind: 'held', options } }
}

/** The words of a maximum size. */
const OF_MAX_SIZE: ReadonlySet<string> = new Set([
  ...['name', 'description', 'enabled', 'priority', 'topic', 'on', 'for', 'when', 'maxSize'],
  ...['exceeded', 'message', 'penalties', 'shadow', 'limit', 'quota', 'inFlight'],
])

function makeMaxSize(
  rule: Partial<PolicyRule>,
  maxSize: number | string,
  { warn: _warn, fallback: _fallback, per: _per, cost: _cost, ...common }: Common,
  { report }: RuleContext,
): Made | undefined {
  for (const [word, value] of Object.entries(rule)) {
    if (value === undefined || OF_MAX_SIZE.has(word)) continue
    const remedy = 'remove it, or write a second rule: every rule that matches is asked'
    report({ path: word, message: `\`${word}\` has no effect on \`maxSize\`, which counts nothing`, remedy })
  }
  const options = { ...common, maxSize } as SizeOptions
  const middleware = makeOrReport(limit, options, { maxSize: 0, exceeded: 'reject' }, report)
  return middleware && { middleware, rule: { kind: 'maxSize', options } }
}

function checkWords(rule: Partial<PolicyRule>, sound: boolean, report: Report): void {
  const { name } = rule
  if (name !== undefined && (RESERVED.some(word => name.startsWith(word)) || !NAME.test(name))) {
    const message = `${JSON.stringify(name.slice(0, 60))} cannot be the name of a rule`
    const remedy = `use 1 to 200 printable characters, not beginning with ${RESERVED.join(' or ')}`
    report({ path: 'name', message, remedy })
  }
  if (heldKindOf(rule) !== undefined) return
  const isLimit = rule.limit !== undefined
  const isQuota = rule.quota !== undefined
  const bound = (['inFlight', 'maxSize'] as const).find(word => rule[word] !== undefined)
  if (bound !== undefined) {
    const other = (['limit', 'quota', 'maxSize'] as const).find(
      word => word !== bound && rule[word] !== undefined,
    )
    if (other !== undefined) {
      const remedy = 'write two rules: every rule that matches is asked'
      report({ path: bound, message: `\`${other}\` and \`${bound}\` stand together`, remedy })
    }
    return
  }
  if (isLimit && isQuota) {
    const remedy = 'write two rules: every rule that matches is asked'
    report({ path: 'quota', message: '`limit` and `quota` stand together', remedy })
  } else if (!isLimit && !isQuota) {
    if (sound) {
      const remedy = `give one of them, as limit: 10/s, quota: 10000/day, maxSize: 256kB or inFlight: 5; or one of ${HELD_KINDS.join(', ')}`
      report({ path: '', message: 'there is neither `limit` nor `quota`', remedy })
    }
    return
  }
  for (const word of isLimit ? ONLY_OF_QUOTAS : ONLY_OF_LIMITS) {
    if (rule[word] === undefined || (isLimit && isQuota)) continue
    const [mine, other] = isLimit ? ['limit', 'quota'] : ['quota', 'limit']
    const message = `\`${word}\` has no effect on a ${mine}`
    report({ path: word, message, remedy: `remove it, or write ${other} instead of ${mine}` })
  }
}

/** Reports scopes that are none, with paths below `per`. */
export function checkScopes(per: PolicyRule['per'], captures: readonly string[], report: Report): void {
  const scopes = per === undefined ? [] : typeof per === 'string' ? [per] : per
  scopes.forEach((scope, index) => {
    const flaw = findScopeProblem(scope, captures)
    if (flaw === undefined) return
    const [message = flaw, known] = flaw.split('; ')
    const near = nearest(scope, [...SCOPE_WORDS, ...captures])
    const remedy =
      near === undefined ? (known ?? 'use another') : `did you mean ${near}? ${known ?? ''}`.trim()
    report({ path: typeof per === 'string' ? 'per' : `per[${index}]`, message, remedy })
  })
}

/** Everything else about it is checked where the rule is made, which knows no captures. */
function checkRedirect(
  exceeded: PolicyRule['exceeded'],
  dialect: Dialect,
  captures: readonly string[],
  report: Report,
): void {
  if (typeof exceeded !== 'object' || !('redirect' in exceeded)) return
  const path = 'exceeded.redirect.to'
  let flaw: string | undefined
  try {
    flaw = findRedirectProblem(compileExceeded(exceeded as Exceeded, dialect).redirect, captures)
  } catch {
    return
  }
  if (flaw === undefined) return
  const [message = flaw, remedy = 'use another'] = flaw.split('; ')
  report({ path, message, remedy })
}

function inside(path: string, report: Report): Report {
  return problem => report({ ...problem, path })
}

function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>
}
