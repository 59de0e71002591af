import { type Decision, HARSHNESS, type Outcome } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import type { Dialect, MaybePromise, Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import {
  compileHold,
  type HoldOverflowOutcome,
  type RuleHoldBounds,
  type ThrottleOptions,
} from './compile-hold-bounds.ts'
import { compileDegrade, type DegradeOptions, type DegradePlan } from './degrade.ts'
import { compileQueue, type QueueOptions, type QueuePlan } from './queue-plan.ts'
import { compileRedirect, type RedirectOptions, type RedirectPlan } from './redirect.ts'

/** Outcome of a message over its limit. */
export type ExceededWord = Exclude<Outcome, 'deliver'>

export interface LatestOptions {
  /** Most topics with a held message. Default: 10,000. */
  readonly topics?: number | undefined
  /** Most bytes held, in payloads and topics. Default: 64 MiB. */
  readonly bytes?: number | string | undefined
  /** Outcome of a message of a topic that finds no room. Default: drop. */
  readonly then?: HoldOverflowOutcome | undefined
}

/**
 * Custom outcome, which a guard calls for each message that the rule refuses. If it throws or does not answer in time,
 * the message is rejected. `deliver` lets a message pass uncharged.
 */
export type OutcomeFunction = (message: Message, decision: Decision) => MaybePromise<Outcome | Decision>

/** Outcome of a message over its limit: a word, an outcome with options, or a function. */
export type ExceededSpec =
  | ExceededWord
  | { readonly throttle: ThrottleOptions }
  | { readonly queue: QueueOptions }
  | { readonly latest: LatestOptions }
  | { readonly redirect: RedirectOptions }
  | { readonly degrade: DegradeOptions }
  | OutcomeFunction

/** Compiled `exceeded`: the outcome and its plan, if it has one. */
export interface ExceededPlan {
  readonly outcome: ExceededWord
  /** Bounds of `throttle`, if the rule sets any. */
  readonly hold?: RuleHoldBounds | undefined
  /** Plan of `queue` and `latest`. */
  readonly queue?: QueuePlan | undefined
  readonly redirect?: RedirectPlan | undefined
  readonly degrade?: DegradePlan | undefined
  readonly custom?: OutcomeFunction | undefined
}

const WORDS = Object.keys(HARSHNESS).filter(word => word !== 'deliver') as readonly ExceededWord[]

const LATEST: KnownOptions<LatestOptions> = { topics: true, bytes: true, then: true }

/** Compiles `exceeded`. Throws PolicyError with the path inside it, such as `exceeded.queue.upTo`. */
export function compileExceeded(
  exceeded: ExceededSpec | undefined,
  dialect: Dialect = 'mqtt',
  path = 'exceeded',
): ExceededPlan {
  if (typeof exceeded === 'function') return { outcome: 'reject', custom: exceeded }
  const [word, options] = readExceeded(exceeded)
  const within = `${path}.${word}`
  switch (word) {
    case 'throttle': {
      const hold = compileHold(options, within)
      return { outcome: word, hold }
    }
    case 'queue':
      return { outcome: word, queue: compileQueue(options, within) }
    case 'latest': {
      checkOptionNames(options as LatestOptions, LATEST, within)
      const { topics, ...rest } = options as LatestOptions
      const queue = compileQueue({ ...rest, max: topics }, within, true)
      return { outcome: word, queue }
    }
    case 'redirect':
      return { outcome: word, redirect: compileRedirect(options, dialect, within) }
    case 'degrade':
      return { outcome: word, degrade: compileDegrade(options, within) }
    case 'retry':
    case 'drop':
    case 'reject':
    case 'disconnect':
      return { outcome: word }
    default:
      return word satisfies never
  }

  function readExceeded(given: unknown): readonly [ExceededWord, Readonly<Record<string, unknown>>] {
    const [name, inner] =
      typeof given === 'object' && given !== null ? (Object.entries(given)[0] ?? []) : [given ?? 'reject', {}]
    if (!WORDS.includes(name as ExceededWord))
      throw policyError(path, `"${String(name)}" is not an outcome`, `use one of ${WORDS.join(', ')}`)
    if (typeof inner !== 'object' || inner === null)
      throw policyError(
        `${path}.${String(name)}`,
        'the options are not an object',
        `write exceeded: ${String(name)}`,
      )
    return [name as ExceededWord, inner as Readonly<Record<string, unknown>>]
  }
}
