import type { CustomAlgorithm } from '../algorithms/custom-algorithm-types.ts'
import { convertLimitToThousandths } from '../algorithms/multiply-limit.ts'
import { getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import { compilePenalty, type PenaltySpec } from '../chain/rules/compile-penalty.ts'
import { exempt } from '../chain/rules/exemption.ts'
import type { ExemptOptions } from '../chain/rules/rule-options.ts'
import { compileShadow } from '../chain/rules/shadow.ts'
import { compileTiers, type TiersSpec } from '../chain/rules/tiers.ts'
import { type BehaviourFactorsSpec, compileBehaviour } from '../chain/senders/behaviour-tracker.ts'
import {
  compileIdentity,
  parseSenderTemplate,
  type SenderIdentityTemplates,
  type SenderResolver,
} from '../chain/senders/sender-identity-templates.ts'
import type { Problem } from '../core/errors.ts'
import type { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'
import { parsePattern } from '../topic/pattern.ts'
import {
  createCollectingProblems,
  prefixPaths,
  type ReportProblem,
  tryOrReport,
} from './collect-compile-problems.ts'
import { compileAdaptive } from './compile-adaptive.ts'
import { compileBreakerAndFeedback } from './compile-breaker-and-feedback.ts'
import { compileRule } from './compile-rule.ts'
import { compileStore } from './compile-store.ts'
import type { CompiledPolicy, CompiledRuleOptions, MiddlewareEntry } from './compiled-policy-types.ts'
import { applyPolicyShadow, isInShadow, penaltyInShadow } from './policy-shadow.ts'
import type { PolicyDocument, PolicyExemption } from './schema.ts'
import { formatPath, type ValuePath } from './source-positions.ts'

/** Fields of an exemption that restrict it; one is required. */
const RESTRICTIONS = ['topics', 'clients', 'devices', 'users', 'apiKeys', 'roles', 'ips', 'when'] as const

/**
 * Compiles a document in turns of the event loop and collects all problems of meaning. `wrong` lists paths of invalid
 * form, which are left out and not reported again.
 */
export async function compileDocument(
  document: PolicyDocument,
  wrong: readonly ValuePath[],
  algorithms: ReadonlyMap<string, CustomAlgorithm>,
  turns: LoopTurns,
): Promise<{ readonly compiled: CompiledPolicy; readonly problems: readonly Problem[] }> {
  const problems: Problem[] = []
  const report: ReportProblem = problem => problems.push(problem)
  const wrongEntries = new Set(wrong.map(path => formatPath(path.slice(0, 2))))
  const valid = omitInvalid(document, wrong, wrongEntries)
  const dialect: Dialect = valid.dialect ?? 'mqtt'
  const isShadowValid = tryOrReport(() => compileShadow(valid.shadow, undefined), report) !== undefined
  const shadow = isShadowValid ? valid.shadow : false
  const adaptive = compileAdaptive(valid.adaptive, prefixPaths(report, 'adaptive'))
  const store = compileStore(valid.store, prefixPaths(report, 'store'))
  const exemptionEntries: MiddlewareEntry[] = []
  const exemptions: ExemptOptions[] = []
  for (const [index, entry] of (valid.exempt ?? []).entries()) {
    if (turns.isOver()) await turns.next()
    const isValid = !wrongEntries.has(`exempt[${index}]`)
    const made = compileExemption(entry, dialect, isValid, prefixPaths(report, 'exempt', index))
    if (!made) continue
    exemptions.push(made.options)
    exemptionEntries.push(made.entry)
  }
  const rules: CompiledRuleOptions[] = []
  const ruleEntries: MiddlewareEntry[] = []
  const captures = new Set<string>()
  for (const [index, rule] of (valid.rules ?? []).entries()) {
    if (turns.isOver()) await turns.next()
    const defaultName = `rules[${index}]`
    const made = compileRule(applyPolicyShadow(rule, shadow), {
      dialect,
      isValid: !wrongEntries.has(defaultName),
      defaultName,
      algorithms,
      report: prefixPaths(report, 'rules', index),
    })
    if (!made) continue
    rules.push(made.rule)
    ruleEntries.push(made.entry)
    for (const name of made.captures) captures.add(name)
  }
  for (const list of ['exempt', 'rules'] as const) {
    if ((valid[list]?.length ?? 0) <= MAX_SIZES.rules) continue
    report({
      path: list,
      message: `there are more than ${MAX_SIZES.rules}`,
      remedy: 'count by captures instead',
    })
  }
  const tiers = tryOrReport(
    () => compileTiers(valid.tiers as TiersSpec | undefined, isInShadow(shadow)),
    prefixPaths(report, 'tiers'),
  )
  if (tiers?.fractional) checkThousandths(ruleEntries, report, 'give tiers whole factors')
  const penalty = tryOrReport(
    () => compilePenalty(valid.penalties as PenaltySpec | undefined),
    prefixPaths(report, 'penalties'),
  )
  const compiledBehaviour = tryOrReport(
    () => compileBehaviour(valid.behaviour as BehaviourFactorsSpec | undefined),
    prefixPaths(report, 'behaviour'),
  )
  if (compiledBehaviour !== undefined && !tiers?.fractional)
    checkThousandths(ruleEntries, report, 'leave out `behaviour`, or use algorithm: sliding-counter', true)
  const senders = senderTemplates(valid, report)
  const allSound = !wrong.some(([first]) => first === 'rules')
  const identity = compileSenders(senders, allSound ? captures : undefined, problem => {
    const isAssigned = problem.path === 'tier' && valid.senders?.tier === undefined
    report({ ...problem, path: isAssigned ? 'tiers.assign.from' : `senders.${problem.path}` })
  })
  const handlers = compileBreakerAndFeedback(valid, dialect, identity, report)
  const entries = [...exemptionEntries, ...(isInShadow(shadow) ? [] : handlers), ...ruleEntries]
  return {
    compiled: {
      dialect,
      store,
      senders,
      identity,
      adaptive,
      entries,
      rules,
      exemptions,
      tiers,
      penalty: isInShadow(shadow) ? penaltyInShadow(penalty) : penalty,
      compiledBehaviour,
    },
    problems,
  }
}

function compileExemption(
  entry: PolicyExemption,
  dialect: Dialect,
  isValid: boolean,
  report: ReportProblem,
): { readonly options: ExemptOptions; readonly entry: MiddlewareEntry } | undefined {
  if (isValid && RESTRICTIONS.every(ground => entry[ground] === undefined)) {
    const remedy = `restrict it with one of ${RESTRICTIONS.join(', ')}`
    report({ path: '', message: 'the exemption would let everything pass', remedy })
  }
  const topics = entry.topics?.filter((topic, index) =>
    tryOrReport(() => parsePattern(topic, dialect, `topics[${index}]`), report),
  )
  const options: ExemptOptions = { ...entry, ...(topics ? { topics } : {}), dialect }
  const middleware = createCollectingProblems(exempt, options, {}, problem => {
    const [message = '', known] = problem.message.split('; ')
    const remedy = problem.remedy ?? known ?? 'correct it'
    const path = problem.path?.startsWith('limit') ? 'limit' : (problem.path ?? '')
    report({ path, message: problem.remedy === undefined ? message : problem.message, remedy })
  })
  return middleware && { options, entry: { pattern: undefined, middleware } }
}

/** Compiles the sender templates. `captures` are those of all rules; undefined if some rules are invalid. */
function compileSenders(
  spec: SenderIdentityTemplates | undefined,
  captures: ReadonlySet<string> | undefined,
  report: ReportProblem,
): SenderResolver | undefined {
  const identity = tryOrReport(() => compileIdentity(spec), report)
  if (!spec || !captures || !identity) return identity
  const { roles, ...parts } = spec
  const templates = {
    ...parts,
    ...(typeof roles === 'object' ? { 'roles.from': roles.from } : roles ? { roles } : {}),
  }
  for (const [path, text] of Object.entries(templates)) {
    for (const capture of parseSenderTemplate(text, path).captures) {
      if (captures.has(capture)) continue
      const message = `no rule's topic has the capture {${capture}}`
      const known = [...captures].slice(0, 20).map(name => `{topic.${name}}`)
      const remedy =
        known.length > 0 ? `use ${known.join(', ')}` : `name a level {${capture}} in the topic of a rule`
      report({ path, message, remedy })
    }
  }
  return identity
}

/** Returns the templates of the sender's parts, including `tiers.assign.from` as the tier. */
function senderTemplates(
  { senders, tiers }: Partial<PolicyDocument>,
  report: ReportProblem,
): SenderIdentityTemplates | undefined {
  const from = tiers?.assign?.from
  if (from === undefined) return senders as SenderIdentityTemplates | undefined
  if (senders?.tier !== undefined) {
    const message = '`from` and `senders.tier` both set the tier'
    report({ path: 'tiers.assign.from', message, remedy: 'remove one of them' })
  }
  if (
    tryOrReport(() => parseSenderTemplate(from, ''), prefixPaths(report, 'tiers', 'assign', 'from')) ===
    undefined
  ) {
    return senders as SenderIdentityTemplates | undefined
  }
  return { ...senders, tier: from } as SenderIdentityTemplates
}

/** Reports rules that cannot count in thousandths, which fractional costs of tiers or behaviour need. */
function checkThousandths(
  rules: readonly MiddlewareEntry[],
  report: ReportProblem,
  remedy: string,
  skipsQuotas = false,
): void {
  rules.forEach(({ middleware }, index) => {
    const { limit, reason } = getMiddlewareMeta(middleware)?.rule ?? {}
    const isQuota = reason === 'quota_exceeded'
    if (limit === undefined || (skipsQuotas && isQuota)) return
    tryOrReport(
      () => convertLimitToThousandths(limit),
      problem => {
        const hint = isQuota ? `${remedy}, or use window: calendar` : (problem.remedy ?? remedy)
        report({ ...problem, remedy: hint, path: `rules[${index}]` })
      },
    )
  })
}

/**
 * Returns the document without invalid parts: for rules and exemptions the field, otherwise the part below the root.
 */
function omitInvalid(
  document: PolicyDocument,
  wrong: readonly ValuePath[],
  wrongEntries: ReadonlySet<string>,
): Partial<PolicyDocument> {
  if (wrong.length === 0) return document
  if (wrong.some(path => path.length === 0)) return {}
  const rest: Record<string, unknown> = { ...document }
  const omitted = new Set(wrong.map(path => formatPath(path.slice(0, 3))))
  for (const list of ['rules', 'exempt'] as const) {
    const entries = rest[list]
    if (!Array.isArray(entries)) continue
    rest[list] = entries.map((entry: unknown, index) => {
      if (!wrongEntries.has(formatPath([list, index]))) return entry
      if (omitted.has(formatPath([list, index])) || typeof entry !== 'object' || entry === null) return {}
      return Object.fromEntries(
        Object.entries(entry).filter(([field]) => !omitted.has(formatPath([list, index, field]))),
      )
    })
  }
  for (const path of wrong) {
    const [first, second] = path
    if (path.length === 1 || (first !== 'rules' && first !== 'exempt')) {
      // The parts of `senders` are independent of each other; those of a store are not.
      const part = rest[String(first)]
      if (first === 'senders' && second !== undefined && typeof part === 'object') {
        rest.senders = Object.fromEntries(Object.entries(part ?? {}).filter(([name]) => name !== second))
      } else delete rest[String(first)]
    }
  }
  return rest as Partial<PolicyDocument>
}
