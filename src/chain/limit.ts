import { createLimit } from '../algorithms/create-limit.ts'
import type { Limit } from '../algorithms/limit.ts'
import { BOUNDS } from '../bounds.ts'
import { compileCondition } from '../conditions/compile.ts'
import type { Condition, ConditionSpec } from '../conditions/condition.ts'
import { HARSHNESS, type Outcome, type Reason, type Scaled } from '../decision.ts'
import { checkWithin, PolicyError, policyError, UnsupportedError } from '../errors.ts'
import type { Action } from '../message.ts'
import { compileExceeded, type ExceededPlan } from '../outcomes/exceeded.ts'
import { checkWords, type RefusalWords } from '../outcomes/refusal-text.ts'
import { FALLBACKS, type Fallback } from '../stores/store.ts'
import { parseRate, type Rate } from '../units.ts'
import { type CostMeter, compileCost, countsBytes } from './cost.ts'
import { inFlightStation } from './in-flight-limit.ts'
import type { Middleware } from './middleware.ts'
import type { InFlightOptions, LimitOptions, QuotaOptions } from './options.ts'
import { compilePenalty, type Penalty } from './penalty.ts'
import { compileScopes, type KeyMaker } from './scope.ts'
import { type Covers, compileFor, type SenderLists } from './sender-lists.ts'
import { compileWarn } from './warn.ts'

/** One rule, compiled: what the chain charges. */
export interface Rule {
  readonly name: string
  readonly description?: string | undefined
  readonly on: Action
  /** Undefined for an unlimited rule, which never charges anything. */
  readonly limit: Limit
  readonly keys: KeyMaker
  readonly cost: CostMeter
  readonly outcome: Outcome
  readonly exceeded: ExceededPlan
  readonly unit: 'messages' | 'bytes'
  readonly message?: RefusalWords | undefined
  readonly harshness: number
  readonly reason: Reason
  readonly shadow: boolean
  /** Shadow and degrade: exceeded, it is not charged and stops no other. */
  readonly soft: boolean
  readonly fallback?: Fallback | undefined
  /** What its limit was multiplied by, and why. */
  readonly scaled?: Scaled | undefined
  /** The part of its limit that senders of a conduct have, where that is not all of it: told, as their costs show it. */
  readonly room?: number | undefined
  /** Meant as it is, however its senders behave. */
  readonly asWritten?: boolean | undefined
  /** The reason of a message this rule lets pass. */
  readonly passed: Reason
  /** Shares of the capacity at which a warning is given, ascending. */
  readonly warn?: readonly number[] | undefined
  /** Its own penalty, in the place of that of all rules. */
  readonly penalty?: Penalty | undefined
  /** Condition of a message the rule is for; absent: every message. */
  readonly when?: Condition | undefined
  readonly whenSpec?: ConditionSpec | undefined
  /** Senders the rule is for; absent: all. */
  readonly covers?: Covers | undefined
  readonly forLists?: SenderLists | undefined
}

/** What a middleware made by `limit`, `quota` or `exempt` tells the gate, so that neighbours can be fused. */
export interface LimitStation {
  readonly kind: 'limit'
  readonly name: string
  readonly enabled: boolean
  readonly priority: number
  /** Absent where the rate is unlimited. */
  readonly rule?: Rule | undefined
}

/** Where a made middleware carries its station. */
export const STATION: unique symbol = Symbol('topicgate.station')

/**
 * A rate limit: `limit({ name: 'telemetry', rate: '10/s burst 20', per: 'device', exceeded: 'throttle' })`.
 * `limit({ name: 'work', inFlight: 5, per: 'tenant' })` bounds the handlers at work at once.
 * To be given to `gate.use`, which joins neighbouring limits into one atomic step. Throws PolicyError.
 */
export function limit(options: LimitOptions | InFlightOptions): Middleware {
  if ('inFlight' in options && options.inFlight !== undefined) return inFlightLimit(options)
  return rateLimit(options as LimitOptions)
}

/** Lets all pass: consumers and `gate.run` enact it. */
function inFlightLimit(options: InFlightOptions): Middleware {
  const middleware: Middleware = (_message, next) => next()
  return Object.assign(middleware, { [STATION]: inFlightStation(options) })
}

function rateLimit(options: LimitOptions): Middleware {
  const rate = checkWithin('rate', () => parseRate(options.rate))
  const algorithm = options.algorithm ?? 'token-bucket'
  const burst = options.burst ?? rate.burst
  return station('limit', options, rate, 'rate_limit_exceeded', (fractional, count) => ({
    name: options.name,
    algorithm,
    count,
    periodMs: rate.periodMs,
    ...(burst === undefined ? {} : { burst }),
    ...(options.initial === undefined ? {} : { initial: options.initial }),
    fractional,
  }))
}

/**
 * A quota: `quota({ name: 'daily', rate: '10000/day', per: 'device', zone: 'Europe/Berlin' })`. Refusals say
 * `quota_exceeded`. Throws PolicyError.
 */
export function quota(options: QuotaOptions): Middleware {
  const rate = checkWithin('rate', () => parseRate(options.rate))
  const rolling = options.window === 'rolling'
  if (rate.burst !== undefined)
    throw policyError('rate', 'a quota has no burst', 'leave it out, or use limit')
  if (!rolling && rate.window === undefined && rate.count !== Infinity) {
    throw policyError(
      'rate',
      `"${options.rate}" is no calendar window`,
      'write N/day, N/week, N/month or N/year, or window: rolling',
    )
  }
  const algorithm = rolling ? 'sliding-log' : 'quota'
  const make = (): Middleware =>
    station('quota', options, rate, 'quota_exceeded', (fractional, count) => ({
      name: options.name,
      algorithm,
      count,
      periodMs: rate.periodMs,
      fractional,
      ...(rolling || rate.window === undefined
        ? {}
        : { calendar: { unit: rate.window, zone: options.zone ?? 'UTC' } }),
    }))
  return rolling ? withRemedy(options.rate, rate.count, make) : make()
}

/** Makes a rolling quota; if its log could grow too large, the error names what else a quota can be. */
function withRemedy(rate: string, count: number, make: () => Middleware): Middleware {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof PolicyError) || error.problems[0]?.path !== 'algorithm') throw error
    const { message } = error.problems[0]
    const whole = count > BOUNDS.logEntries ? '' : 'costs in whole units, '
    const remedy = `use ${whole}window: calendar, or limit: ${rate} with algorithm: sliding-counter`
    throw policyError('rate', message, remedy)
  }
}

type LimitSpecOf = (fractional: boolean, count: number) => Parameters<typeof createLimit>[0]

function station(
  kind: 'limit' | 'quota',
  options: LimitOptions | QuotaOptions,
  rate: Rate,
  reason: Reason,
  specOf: LimitSpecOf,
): Middleware {
  if (typeof options.name !== 'string' || options.name === '') {
    throw policyError('name', 'a rule needs a name', 'its state lives under it: give each rule its own')
  }
  if (rate.per !== undefined)
    throw policyError('rate', `"per ${rate.per}" stands in the rate`, `write per: ${rate.per}`)
  // A rate in bytes counts bytes unless something else is said.
  const cost = compileCost(options.cost ?? (rate.bytes ? 'bytes' : undefined), options.dialect)
  const isBytes = options.cost === undefined ? rate.bytes : countsBytes(options.cost)
  if (rate.bytes && !isBytes && typeof options.cost === 'object' && 'bytes' in options.cost)
    throw policyError(
      'cost.bytes',
      'the rate counts bytes, the cost blocks',
      'write the rate in blocks, as 250/s',
    )
  const keys = compileScopes(options.per)
  const exceeded = compileExceeded(options.exceeded, options.dialect)
  const { outcome } = exceeded
  checkWords(options.message, 'message')
  const warn = compileWarn(options.warn)
  const penalty = checkWithin('penalties', () => compilePenalty(options.penalties, true))
  const common = {
    kind: 'limit',
    name: options.name,
    enabled: options.enabled ?? true,
    priority: options.priority ?? 0,
  } as const
  if (rate.count === Infinity) return tagged(kind, options.name, common)
  const shadow = options.shadow ?? false
  const rule: Rule = {
    name: options.name,
    ...(options.description === undefined ? {} : { description: options.description }),
    on: options.on ?? 'publish',
    limit: createLimit(specOf(cost.fractional, rate.count)),
    keys,
    cost,
    outcome,
    exceeded,
    unit: isBytes ? 'bytes' : 'messages',
    ...(options.message === undefined ? {} : { message: options.message }),
    harshness: HARSHNESS[outcome],
    reason,
    passed: 'ok',
    shadow,
    soft: shadow || outcome === 'degrade',
    ...(warn === undefined ? {} : { warn }),
    ...(penalty === undefined ? {} : { penalty }),
    ...(options.when === undefined
      ? {}
      : { when: compileCondition(options.when, 'when'), whenSpec: options.when }),
    ...(options.for === undefined
      ? {}
      : { covers: compileFor(options.for, options.on ?? 'publish'), forLists: options.for }),
    ...(options.fallback === undefined ? {} : { fallback: fallbackOf(options.fallback) }),
  }
  return tagged(kind, options.name, { ...common, rule })
}

function tagged(kind: string, name: string, made: LimitStation): Middleware {
  const middleware: Middleware = () => {
    throw new UnsupportedError(
      `${kind} "${name}" was called by itself: give it to gate.use(), which charges it`,
    )
  }
  return Object.assign(middleware, { [STATION]: made })
}

function fallbackOf(word: Fallback): Fallback {
  if (FALLBACKS.includes(word)) return word
  throw policyError('fallback', `"${String(word)}" is no fallback`, `use one of ${FALLBACKS.join(', ')}`)
}
