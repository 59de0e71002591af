import { createHash } from 'node:crypto'
import { compileCondition } from '../../conditions/compile.ts'
import type { Condition } from '../../conditions/condition.ts'
import type { Decision } from '../../core/decision.ts'
import { checkWithPathPrefix, checkWord, policyError, UnsupportedError } from '../../core/errors.ts'
import { MESSAGE_OPERATIONS, type Sender } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseRate } from '../../core/units.ts'
import { parsePattern } from '../../topic/pattern.ts'
import { Trie } from '../../topic/trie.ts'
import type { Middleware } from '../middleware-types.ts'
import { compileCost } from './cost.ts'
import { MIDDLEWARE_META, type Rule } from './create-limit-middleware.ts'
import { createRateRule } from './implicit-rate-rule.ts'
import { createKeyMaker, findScopeProblem } from './key-scope.ts'
import type { ExemptOptions, Scope } from './rule-options.ts'
import { compileSenderLists } from './sender-filter.ts'

/** A compiled exemption. */
export interface CompiledExemption {
  readonly kind: 'exempt'
  readonly name?: string | undefined
  readonly enabled: boolean
  readonly priority: number
  /** Returns true if its lists cover a sender on a topic. Independent of the message. */
  covers(topic: string, sender: Sender): boolean
  /** Condition on the message. */
  readonly when?: Condition | undefined
  /** Limit of the exemption. Beyond it, the rules apply. */
  readonly rule?: Rule | undefined
  readonly decision: Decision
  /** Returns the exemption as it applies to an action: in full, in part, or undefined. */
  metaFor(action: string): CompiledExemption | undefined
  readonly options: ExemptOptions
}

/**
 * Lets messages pass all limits, including those added before it: `exempt({ roles: ['admin'], ips:
 * ['10.0.0.0/8'] })`. One entry of one list is enough, and `when` must match as well. Without lists, `when`
 * alone decides. `limit` bounds the exemption. Custom middleware added before it runs before it. Throws
 * PolicyError.
 */
export function exempt(options: ExemptOptions): Middleware {
  checkOptionNames(options, EXEMPT_OPTIONS)
  const rule = options.limit === undefined ? undefined : ownRule(options, options.limit)
  const meta: CompiledExemption = {
    kind: 'exempt',
    name: options.name,
    enabled: options.enabled ?? true,
    priority: options.priority ?? 0,
    covers: compileLists(options),
    when: options.when === undefined ? undefined : compileCondition(options.when, 'when'),
    rule,
    decision: Object.freeze({
      allowed: true,
      outcome: 'deliver',
      reason: 'exempt',
      retryAfterMs: 0,
      exemption: options.name,
    }),
    options,
    metaFor: action => parts(action),
  }
  const parts = partsOf(options, meta)
  const middleware: Middleware = () => {
    throw new UnsupportedError('exempt() was called by itself: give it to gate.use()')
  }
  return Object.assign(middleware, { [MIDDLEWARE_META]: meta })
}

export const EXEMPT_OPTIONS: KnownOptions<ExemptOptions> = {
  name: true,
  description: true,
  topics: true,
  clients: true,
  devices: true,
  users: true,
  apiKeys: true,
  roles: true,
  ips: true,
  on: true,
  when: true,
  limit: true,
  enabled: true,
  priority: true,
  dialect: true,
}

/** Lists of parts that are not authenticated yet when a connect is decided. */
const UNPROVEN = ['users', 'apiKeys', 'roles'] as const
const PROVEN = ['topics', 'clients', 'devices', 'ips'] as const

function partsOf(
  options: ExemptOptions,
  meta: CompiledExemption,
): (action: string) => CompiledExemption | undefined {
  const { on } = options
  if (on !== undefined) {
    const actions: readonly string[] = typeof on === 'string' ? [on] : on
    for (const action of actions.length === 0 ? [''] : actions)
      checkWord(action, MESSAGE_OPERATIONS, 'on', 'action')
    return action => (actions.includes(action) ? meta : undefined)
  }
  if (UNPROVEN.every(list => options[list] === undefined)) return () => meta
  const { users: _users, apiKeys: _apiKeys, roles: _roles, ...proven } = options
  const atConnect = PROVEN.some(list => options[list] !== undefined)
    ? { ...meta, covers: compileLists(proven) }
    : undefined
  return action => (action === 'connect' ? atConnect : meta)
}

type Cover = (topic: string, sender: Sender) => boolean

function compileLists(options: ExemptOptions): Cover {
  const { topics } = options
  const senders = compileSenderLists(options)
  if (topics === undefined) return senders === undefined ? () => true : (_topic, sender) => senders(sender)
  const ofTopic = coverTopics(topics, options)
  if (senders === undefined) return ofTopic
  return (topic, sender) => ofTopic(topic) || senders(sender)
}

function coverTopics(topics: readonly string[], options: ExemptOptions): (topic: string) => boolean {
  const dialect = options.dialect ?? 'mqtt'
  const trie = new Trie(dialect)
  topics.forEach((topic, index) => {
    trie.add(parsePattern(topic, dialect, `topics[${index}]`), index)
  })
  return topic => trie.match(topic).length > 0
}

/** Returns the limit of an exemption. Its name cannot collide with a rule of a policy. */
function ownRule(options: ExemptOptions, text: string): Rule | undefined {
  const name = `exempt:${options.name ?? digest(options)}`
  return checkWithPathPrefix('limit', () => {
    const rate = parseRate(text)
    if (rate.count === Infinity) return undefined
    const cost = compileCost(rate.bytes ? 'bytes' : 1)
    const per: readonly Scope[] | undefined = rate.per?.split(',')
    for (const scope of per ?? []) {
      const problem = findScopeProblem(scope, [])
      if (problem !== undefined) throw policyError('', problem)
    }
    return createRateRule(name, rate, { keys: createKeyMaker(per), cost })
  })
}

/** Returns an id for an unnamed exemption. Hashed, because the options may hold a secret. */
function digest(options: ExemptOptions): string {
  return createHash('sha256').update(JSON.stringify(options)).digest('base64url').slice(0, 16)
}

/** Returns true if an exemption applies to every message of a covered sender. */
export function isUnconditionalExemption(meta: CompiledExemption): boolean {
  return meta.when === undefined && meta.rule === undefined
}
