import { createLimit } from '../../algorithms/create-limit.ts'
import type { Limit } from '../../algorithms/limit-types.ts'
import { compileCondition, usesPayload } from '../../conditions/compile.ts'
import type { Condition, ConditionSpec } from '../../conditions/condition.ts'
import { HARSHNESS, type Outcome, type Reason, type Scaled } from '../../core/decision.ts'
import {
  checkWithPathPrefix,
  checkWord,
  PolicyError,
  policyError,
  UnsupportedError,
} from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { MESSAGE_OPERATIONS, type Operation } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseQuota, parseRate, type Rate } from '../../core/units.ts'
import { compileExceeded, type ExceededPlan } from '../../outcomes/exceeded.ts'
import { checkRefusalText } from '../../outcomes/refusal-text.ts'
import type { RefusalWords } from '../../outcomes/rule-info.ts'
import { FALLBACKS, type Fallback } from '../../stores/store.ts'
import type { Middleware } from '../middleware-types.ts'
import { type CompiledPenalty, compilePenalty } from './compile-penalty.ts'
import { type CostMeter, compileCost, costUsesPayload, countsBytes } from './cost.ts'
import { compileInFlightRule } from './in-flight-rule.ts'
import { createKeyMaker, type KeyMaker } from './key-scope.ts'
import { compileResourceLimit, type ResourceKind, resourceKindOf } from './resource-limit.ts'
import type {
  InFlightOptions,
  LimitOptions,
  MessageSizeOptions,
  QuotaOptions,
  ResourceLimitOptions,
  RuleOptions,
  UnchangedPayloadOptions,
} from './rule-options.ts'
import { type CoversSender, compileForLists, type SenderMatchLists } from './sender-filter.ts'
import { compileShadow, type Shadow } from './shadow.ts'
import { compileSizeRule, type SizeLimitMeta } from './size-limit.ts'
import { compileUnchangedRule, type UnchangedMiddlewareMeta } from './unchanged-payload-rule.ts'
import { compileUsageWarnings } from './usage-warning.ts'

/** A compiled rule. */
export interface Rule extends Shadow {
  readonly name: string
  readonly description?: string | undefined
  readonly on: Operation
  /** Limit that the rule charges. */
  readonly limit: Limit
  readonly keys: KeyMaker
  readonly cost: CostMeter
  readonly outcome: Outcome
  readonly exceeded: ExceededPlan
  readonly unit: 'messages' | 'bytes'
  readonly message?: RefusalWords | undefined
  readonly harshness: number
  readonly reason: Reason
  /** True for shadow and degrade rules: if exceeded, they are not charged and do not refuse. */
  readonly soft: boolean
  readonly fallback?: Fallback | undefined
  /** Factor of its limit, with the reason. */
  readonly scaled?: Scaled | undefined
  /** Share of its limit for a behaviour level, if it is not 1. Scales the reported numbers to match the costs. */
  readonly limitShare?: number | undefined
  /** True if behaviour levels do not change it. */
  readonly asWritten?: boolean | undefined
  /** Reason of messages that this rule allows. */
  readonly passed: Reason
  /** Shares of the capacity at which a warning is emitted, ascending. */
  readonly warn?: readonly number[] | undefined
  /** Penalty of its own, in place of the general one. */
  readonly penalty?: CompiledPenalty | undefined
  /** Condition on messages; absent: every message. */
  readonly when?: Condition | undefined
  readonly whenSpec?: ConditionSpec | undefined
  /** True if its condition or its cost may depend on the payload itself. */
  readonly usesPayload: boolean
  /** Matches the senders that it applies to; absent: all. */
  readonly covers?: CoversSender | undefined
  readonly forLists?: SenderMatchLists | undefined
}

/** Metadata of middleware made by `limit` or `quota`. The gate uses it to charge adjacent limits together. */
export interface LimitMeta {
  readonly kind: 'limit'
  readonly name: string
  readonly enabled: boolean
  readonly priority: number
  /** Absent if the rate is unlimited. */
  readonly rule?: Rule | undefined
}

const RULE: KnownOptions<RuleOptions> = {
  name: true,
  description: true,
  on: true,
  when: true,
  for: true,
  per: true,
  cost: true,
  exceeded: true,
  message: true,
  warn: true,
  penalties: true,
  shadow: true,
  fallback: true,
  enabled: true,
  priority: true,
  dialect: true,
}
export const LIMIT_OPTIONS: KnownOptions<LimitOptions> = {
  ...RULE,
  limit: true,
  rate: true,
  burst: true,
  initial: true,
  algorithm: true,
}
export const QUOTA_OPTIONS: KnownOptions<QuotaOptions> = {
  ...RULE,
  quota: true,
  rate: true,
  window: true,
  zone: true,
}

/** Key of the metadata on built-in middleware. */
export const MIDDLEWARE_META: unique symbol = Symbol('topicgate.middlewareMeta')

/**
 * Creates a rate limit: `limit({ name: 'telemetry', limit: '10/s burst 20', per: 'device', exceeded:
 * 'throttle' })`. `limit({ name: 'work', inFlight: 5, per: 'tenant' })` limits concurrent handlers, `limit({
 * name: 'large', maxSize: '256kB' })` the size of messages. `limit({ name: 'repeats', unchanged: 'drop' })`
 * drops repeated payloads. `limit({ name: 'open', connections: 20, per: 'ip'
 * })` limits items held by a broker: connections, subscriptions, retained. Pass it to `gate.use`, which
 * charges adjacent limits in one atomic step. Throws PolicyError.
 */
export function limit(
  options:
    | LimitOptions
    | InFlightOptions
    | ResourceLimitOptions
    | MessageSizeOptions
    | UnchangedPayloadOptions,
): Middleware {
  const resource = typeof options === 'object' && options !== null ? resourceKindOf(options) : undefined
  if (resource !== undefined) return resourceLimit(options as ResourceLimitOptions, resource)
  if (
    typeof options === 'object' &&
    options !== null &&
    'inFlight' in options &&
    options.inFlight !== undefined
  )
    return inFlightLimit(options)
  if (
    typeof options === 'object' &&
    options !== null &&
    'maxSize' in options &&
    options.maxSize !== undefined
  )
    return sizeLimit(options)
  if (
    typeof options === 'object' &&
    options !== null &&
    'unchanged' in options &&
    options.unchanged !== undefined
  )
    return tagged('limit', options.name, compileUnchangedRule(options))
  return rateLimit(options as LimitOptions)
}

/** Lets all messages pass; brokers enforce the limit. */
function resourceLimit(options: ResourceLimitOptions, resource: ResourceKind): Middleware {
  const middleware: Middleware = (_message, next) => next()
  return Object.assign(middleware, { [MIDDLEWARE_META]: compileResourceLimit(options, resource) })
}

/** Lets all messages pass; consumers and `gate.run` enforce the limit. */
function inFlightLimit(options: InFlightOptions): Middleware {
  const middleware: Middleware = (_message, next) => next()
  return Object.assign(middleware, { [MIDDLEWARE_META]: compileInFlightRule(options) })
}

function sizeLimit(options: MessageSizeOptions): Middleware {
  const made = compileSizeRule(options)
  return tagged('limit', options.name, made)
}

function rateLimit(options: LimitOptions): Middleware {
  checkOptionNames(options, LIMIT_OPTIONS)
  const { path, rate } = rateOf('limit', options.limit, options.rate)
  const algorithm = options.algorithm ?? 'token-bucket'
  const burst = options.burst ?? rate.burst
  return meta('limit', options, path, rate, 'rate_limit_exceeded', (fractional, count) => ({
    name: options.name,
    algorithm,
    count,
    periodMs: rate.periodMs,
    burst,
    initial: options.initial,
    fractional,
  }))
}

/**
 * Creates a quota: `quota({ name: 'daily', quota: '10000/day', per: 'device', zone: 'Europe/Berlin' })`.
 * Refusals have the reason `quota_exceeded`. Throws PolicyError.
 */
export function quota(options: QuotaOptions): Middleware {
  checkOptionNames(options, QUOTA_OPTIONS)
  const { path, text, rate } = rateOf('quota', options.quota, options.rate)
  const { window = 'calendar' } = options
  checkWord(window, ['calendar', 'rolling'], 'window', 'window')
  const rolling = window === 'rolling'
  if (rate.burst !== undefined) throw policyError(path, 'a quota has no burst', 'leave it out, or use limit')
  if (!rolling && rate.window === undefined && rate.count !== Infinity) {
    throw policyError(
      path,
      `"${text}" is not a calendar window`,
      'write N/day, N/week, N/month or N/year, or window: rolling',
    )
  }
  if (rolling && rate.from !== undefined)
    throw policyError(path, 'a rolling quota looks back and has no first day', 'leave out `from` or `window`')
  const algorithm = rolling ? 'sliding-log' : 'quota'
  const make = (): Middleware =>
    meta('quota', options, path, rate, 'quota_exceeded', (fractional, count) => ({
      name: options.name,
      algorithm,
      count,
      periodMs: rate.periodMs,
      fractional,
      ...(rolling || rate.window === undefined
        ? {}
        : { calendar: { unit: rate.window, zone: options.zone ?? 'UTC', from: rate.from } }),
    }))
  return rolling ? withRemedy(path, text, rate.count, make) : make()
}

/** Creates a rolling quota. If its log could grow too large, the error suggests alternatives. */
function withRemedy(path: string, rate: string, count: number, make: () => Middleware): Middleware {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof PolicyError) || error.problems[0]?.path !== 'algorithm') throw error
    const { message } = error.problems[0]
    const whole = count > MAX_SIZES.logEntries ? '' : 'costs in whole units, '
    const remedy = `use ${whole}window: calendar, or limit: ${rate} with algorithm: sliding-counter`
    throw policyError(path, message, remedy)
  }
}

/** Reads the rate of a rule, which has two possible names. Throws PolicyError. */
function rateOf(
  name: 'limit' | 'quota',
  own: string | undefined,
  alias: string | undefined,
): { readonly path: string; readonly text: string; readonly rate: Rate } {
  if (own !== undefined && alias !== undefined)
    throw policyError('rate', `\`${name}\` is set, too`, 'write one of them')
  const path = alias === undefined ? name : 'rate'
  const text = own ?? alias
  if (text === undefined) {
    const remedy = name === 'limit' ? "write limit: '10/s'" : "write quota: '10000/day'"
    throw policyError(path, 'the rule has no rate', remedy)
  }
  const parse = name === 'quota' ? parseQuota : parseRate
  return { path, text, rate: checkWithPathPrefix(path, () => parse(text)) }
}

type LimitSpecOf = (fractional: boolean, count: number) => Parameters<typeof createLimit>[0]

function meta(
  kind: 'limit' | 'quota',
  options: LimitOptions | QuotaOptions,
  path: string,
  rate: Rate,
  reason: Reason,
  specOf: LimitSpecOf,
): Middleware {
  if (typeof options.name !== 'string' || options.name === '') {
    throw policyError(
      'name',
      'a rule needs a name',
      'its counters are stored under it: give each rule its own',
    )
  }
  if (rate.per !== undefined)
    throw policyError(path, `"per ${rate.per}" is part of the rate`, `write per: ${rate.per}`)
  const { on = 'publish' } = options
  checkWord(on, MESSAGE_OPERATIONS, 'on', 'action')
  // A rate in bytes counts bytes unless a cost is given.
  const cost = compileCost(options.cost ?? (rate.bytes ? 'bytes' : undefined), options.dialect)
  const isBytes = options.cost === undefined ? rate.bytes : countsBytes(options.cost)
  if (rate.bytes && !isBytes && typeof options.cost === 'object' && 'bytes' in options.cost)
    throw policyError(
      'cost.bytes',
      'the rate counts bytes, the cost blocks',
      'write the rate in blocks, as 250/s',
    )
  const keys = createKeyMaker(options.per)
  const exceeded = compileExceeded(options.exceeded, options.dialect)
  const { outcome } = exceeded
  checkRefusalText(options.message, 'message')
  const warn = compileUsageWarnings(options.warn)
  const penalty = checkWithPathPrefix('penalties', () => compilePenalty(options.penalties, true))
  const common = {
    kind: 'limit',
    name: options.name,
    enabled: options.enabled ?? true,
    priority: options.priority ?? 0,
  } as const
  if (rate.count === Infinity) return tagged(kind, options.name, common)
  const { shadow, partialShadow } = compileShadow(options.shadow, options.per)
  const rule: Rule = {
    name: options.name,
    description: options.description,
    on,
    limit: createLimit(specOf(cost.fractional, rate.count)),
    keys,
    cost,
    outcome,
    exceeded,
    unit: isBytes ? 'bytes' : 'messages',
    message: options.message,
    harshness: HARSHNESS[outcome],
    reason,
    passed: 'ok',
    shadow,
    soft: shadow || outcome === 'degrade',
    warn,
    penalty,
    when: options.when === undefined ? undefined : compileCondition(options.when, 'when'),
    whenSpec: options.when,
    usesPayload: costUsesPayload(options.cost) || (options.when !== undefined && usesPayload(options.when)),
    covers: options.for === undefined ? undefined : compileForLists(options.for, on),
    forLists: options.for,
    fallback: options.fallback === undefined ? undefined : fallbackOf(options.fallback),
    partialShadow,
  }
  return tagged(kind, options.name, { ...common, rule })
}

function tagged(
  kind: string,
  name: string,
  made: LimitMeta | SizeLimitMeta | UnchangedMiddlewareMeta,
): Middleware {
  const middleware: Middleware = () => {
    throw new UnsupportedError(
      `${kind} "${name}" was called by itself: give it to gate.use(), which charges it`,
    )
  }
  return Object.assign(middleware, { [MIDDLEWARE_META]: made })
}

function fallbackOf(word: Fallback): Fallback {
  if (FALLBACKS.includes(word)) return word
  throw policyError('fallback', `"${String(word)}" is not a fallback`, `use one of ${FALLBACKS.join(', ')}`)
}
