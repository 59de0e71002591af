import type { CustomAlgorithm } from '../algorithms/algorithm.ts'
import { inThousandths } from '../algorithms/rescale-limit.ts'
import { metaOf } from '../chain/routing/plan-steps.ts'
import { exempt } from '../chain/rules/exemption.ts'
import { compilePenalty, type PenaltySpec } from '../chain/rules/penalty.ts'
import type { ExemptOptions } from '../chain/rules/rule-options.ts'
import { compileTiers, type TiersSpec } from '../chain/rules/tiers.ts'
import { type BehaviourSpec, compileBehaviour } from '../chain/senders/behaviour.ts'
import {
  compileIdentity,
  type Identity,
  type IdentitySpec,
  parseTemplate,
} from '../chain/senders/sender-identity.ts'
import { PolicyError, type Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'
import { parsePattern } from '../topic/pattern.ts'
import { compileAdaptive } from './compile-adaptive.ts'
import { compileHandlers } from './compile-handler.ts'
import { compileRule } from './compile-rule.ts'
import { compileStore } from './compile-store.ts'
import type { CompiledEntry, CompiledPolicy, CompiledRule, LoadedPolicy } from './policy-types.ts'
import { attempt, makeOrReport, type Report, within } from './problem-report.ts'
import type { PolicyDocument, PolicyExemption } from './schema.ts'
import { formatPath, type Path } from './source-positions.ts'

export type { CompiledEntry, CompiledPolicy, CompiledRule } from './policy-types.ts'

/** The middleware of a policy, ready for a gate. Throws PolicyError; never for a policy that `loadPolicy` gave. */
export function compilePolicy(loaded: LoadedPolicy): CompiledPolicy {
  const { compiled, problems } = compileDocument(loaded.document, [], loaded.algorithms)
  if (problems.length > 0) {
    throw new PolicyError(problems.map(problem => ({ ...loaded.locate(problem.path ?? ''), ...problem })))
  }
  return { ...compiled, source: loaded }
}

/** Lists, words of `when` and the like: what an exemption must have one of. */
const GROUNDS = ['topics', 'clients', 'devices', 'users', 'apiKeys', 'roles', 'ips', 'when'] as const

/**
 * Compiles a document, and finds everything wrong with what it means. `wrong` are the paths whose form is wrong:
 * they are left out, and not complained of again.
 */
export function compileDocument(
  document: PolicyDocument,
  wrong: readonly Path[],
  algorithms: ReadonlyMap<string, CustomAlgorithm>,
): { readonly compiled: Omit<CompiledPolicy, 'source'>; readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const report: Report = problem => problems.push(problem)
  const sound = leaveOut(document, wrong)
  const dialect: Dialect = sound.dialect ?? 'mqtt'
  const adaptive = compileAdaptive(sound.adaptive, within(report, 'adaptive'))
  const store = compileStore(sound.store, within(report, 'store'))
  const exempts: CompiledEntry[] = []
  const exemptions: ExemptOptions[] = []
  sound.exempt?.forEach((entry, index) => {
    const made = compileExemption(
      entry,
      dialect,
      isSound(wrong, 'exempt', index),
      within(report, 'exempt', index),
    )
    if (!made) return
    exemptions.push(made.options)
    exempts.push(made.entry)
  })
  const rules: CompiledRule[] = []
  const ruled: CompiledEntry[] = []
  const captures = new Set<string>()
  sound.rules?.forEach((rule, index) => {
    const made = compileRule(rule, {
      dialect,
      sound: isSound(wrong, 'rules', index),
      placeholder: `rules[${index}]`,
      algorithms,
      report: within(report, 'rules', index),
    })
    if (!made) return
    rules.push(made.rule)
    ruled.push(made.entry)
    for (const name of made.captures) captures.add(name)
  })
  for (const list of ['exempt', 'rules'] as const) {
    if ((sound[list]?.length ?? 0) <= MAX_SIZES.rules) continue
    report({
      path: list,
      message: `there are more than ${MAX_SIZES.rules}`,
      remedy: 'count by captures instead',
    })
  }
  const tiers = attempt(() => compileTiers(sound.tiers as TiersSpec | undefined), within(report, 'tiers'))
  if (tiers?.fractional) checkThousandths(ruled, report, 'give tiers whole factors')
  const penalty = attempt(
    () => compilePenalty(sound.penalties as PenaltySpec | undefined),
    within(report, 'penalties'),
  )
  const compiledBehaviour = attempt(
    () => compileBehaviour(sound.behaviour as BehaviourSpec | undefined),
    within(report, 'behaviour'),
  )
  if (compiledBehaviour !== undefined && !tiers?.fractional)
    checkThousandths(ruled, report, 'leave out `behaviour`, or use algorithm: sliding-counter', true)
  const senders = sendersOf(sound, report)
  const allSound = !wrong.some(([first]) => first === 'rules')
  const identity = compileSenders(senders, allSound ? captures : undefined, problem => {
    const isAssigned = problem.path === 'tier' && sound.senders?.tier === undefined
    report({ ...problem, path: isAssigned ? 'tiers.assign.from' : `senders.${problem.path}` })
  })
  const entries = [...exempts, ...compileHandlers(sound, dialect, identity, report), ...ruled]
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
      penalty,
      compiledBehaviour,
    },
    problems,
  }
}

function compileExemption(
  entry: PolicyExemption,
  dialect: Dialect,
  sound: boolean,
  report: Report,
): { readonly options: ExemptOptions; readonly entry: CompiledEntry } | undefined {
  if (sound && GROUNDS.every(ground => entry[ground] === undefined)) {
    const remedy = `say for whom: give one of ${GROUNDS.join(', ')}`
    report({ path: '', message: 'the exemption would let everything pass', remedy })
  }
  const topics = entry.topics?.filter((topic, index) =>
    attempt(() => parsePattern(topic, dialect, `topics[${index}]`), report),
  )
  const options: ExemptOptions = { ...entry, ...(topics ? { topics } : {}), dialect }
  const middleware = makeOrReport(exempt, options, {}, problem => {
    const [message = '', known] = problem.message.split('; ')
    const remedy = problem.remedy ?? known ?? 'correct it'
    const path = problem.path?.startsWith('limit') ? 'limit' : (problem.path ?? '')
    report({ path, message: problem.remedy === undefined ? message : problem.message, remedy })
  })
  return middleware && { options, entry: { pattern: undefined, middleware } }
}

/** `captures` are those of all rules; undefined where not all rules could be read. */
function compileSenders(
  spec: IdentitySpec | undefined,
  captures: ReadonlySet<string> | undefined,
  report: Report,
): Identity | undefined {
  const identity = attempt(() => compileIdentity(spec), report)
  if (!spec || !captures || !identity) return identity
  const { roles, ...parts } = spec
  const templates = {
    ...parts,
    ...(typeof roles === 'object' ? { 'roles.from': roles.from } : roles ? { roles } : {}),
  }
  for (const [path, text] of Object.entries(templates)) {
    for (const capture of parseTemplate(text, path).captures) {
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

/** Who is sending; the template of `tiers.assign.from` is one more of its parts. */
function sendersOf({ senders, tiers }: Partial<PolicyDocument>, report: Report): IdentitySpec | undefined {
  const from = tiers?.assign?.from
  if (from === undefined) return senders as IdentitySpec | undefined
  if (senders?.tier !== undefined) {
    const message = '`from` and `senders.tier` say the same thing twice'
    report({ path: 'tiers.assign.from', message, remedy: 'remove one of them' })
  }
  if (attempt(() => parseTemplate(from, ''), within(report, 'tiers', 'assign', 'from')) === undefined) {
    return senders as IdentitySpec | undefined
  }
  return { ...senders, tier: from } as IdentitySpec
}

/** Where messages may cost parts of a unit, by tier or behaviour, every rule must be able to count in thousandths. */
function checkThousandths(
  rules: readonly CompiledEntry[],
  report: Report,
  otherwise: string,
  sparesQuotas = false,
): void {
  rules.forEach(({ middleware }, index) => {
    const { limit, reason } = metaOf(middleware)?.rule ?? {}
    const isQuota = reason === 'quota_exceeded'
    if (limit === undefined || (sparesQuotas && isQuota)) return
    attempt(
      () => inThousandths(limit),
      problem => {
        const remedy = isQuota ? `${otherwise}, or use window: calendar` : (problem.remedy ?? otherwise)
        report({ ...problem, remedy, path: `rules[${index}]` })
      },
    )
  })
}

function isSound(wrong: readonly Path[], list: string, index: number): boolean {
  return !wrong.some(path => path[0] === list && path[1] === index)
}

/** The document without what is wrong: of rules and exemptions the field, elsewhere the part under the root. */
function leaveOut(document: PolicyDocument, wrong: readonly Path[]): Partial<PolicyDocument> {
  if (wrong.length === 0) return document
  if (wrong.some(path => path.length === 0)) return {}
  const rest: Record<string, unknown> = { ...document }
  const omitted = new Set(wrong.map(path => formatPath(path.slice(0, 3))))
  for (const list of ['rules', 'exempt'] as const) {
    const entries = rest[list]
    if (!Array.isArray(entries)) continue
    rest[list] = entries.map((entry: unknown, index) => {
      if (omitted.has(formatPath([list, index])) || typeof entry !== 'object' || entry === null) return {}
      return Object.fromEntries(
        Object.entries(entry).filter(([field]) => !omitted.has(formatPath([list, index, field]))),
      )
    })
  }
  for (const path of wrong) {
    const [first, second] = path
    if (path.length === 1 || (first !== 'rules' && first !== 'exempt')) {
      // Of the senders each part stands for itself; of a store, nothing does.
      const part = rest[String(first)]
      if (first === 'senders' && second !== undefined && typeof part === 'object') {
        rest.senders = Object.fromEntries(Object.entries(part ?? {}).filter(([name]) => name !== second))
      } else delete rest[String(first)]
    }
  }
  return rest as Partial<PolicyDocument>
}
