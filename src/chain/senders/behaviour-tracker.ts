import type { Decision } from '../../core/decision.ts'
import { PolicyError, type Problem } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Sender } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseFactor } from '../rules/parse-factor.ts'
import {
  getSenderIdentifier,
  SENDER_PARTS,
  type SenderIdentifier,
  type SenderPart,
} from './sender-selector.ts'

/** Behaviour of a sender in the last full hour, or in the current hour if it is abusive. */
export type BehaviourLevel = 'good' | 'usual' | 'abusive'

/** Limits that depend on the sender's behaviour. */
export interface BehaviourFactorsSpec {
  /** Factor on the limits of good senders, such as 1.2 or `x1.2`. Default: 1.2. */
  readonly good?: number | string | undefined
  /** Factor on the limits of abusive senders. Default: 0.3. */
  readonly abusive?: number | string | undefined
  /** Part of the sender to count by. Default: client; senders without one by user, device, API key or address. */
  readonly per?: SenderPart | undefined
}

/** Factors by behaviour. */
export const BEHAVIOUR_FACTORS: Readonly<Record<BehaviourLevel, number>> = {
  good: 1.2,
  usual: 1,
  abusive: 0.3,
}

/** Compiled limits by behaviour. */
export interface CompiledBehaviourFactors {
  readonly factors: Readonly<Record<BehaviourLevel, number>>
  readonly per: SenderPart
}

const OPTIONS: KnownOptions<BehaviourFactorsSpec> = { good: true, abusive: true, per: true }

/** Compiles behaviour. Returns undefined if there is none. Throws PolicyError with all problems. */
export function compileBehaviour(
  spec: BehaviourFactorsSpec | undefined,
): CompiledBehaviourFactors | undefined {
  if (spec === undefined) return undefined
  checkOptionNames(spec, OPTIONS)
  const { per = 'client' } = spec
  const problems: Problem[] = []
  const good = readFactor(spec.good ?? BEHAVIOUR_FACTORS.good)
  const abusive = readFactor(spec.abusive ?? BEHAVIOUR_FACTORS.abusive)
  const check = (path: string, value: unknown, factor: number | undefined, remedy: string): void => {
    const shown = JSON.stringify(String(value).slice(0, 60))
    if (factor === undefined) problems.push({ path, message: `${shown} is not a factor`, remedy })
  }
  check('good', spec.good, good, 'write a number with at most three decimals, as 1.2')
  check('abusive', spec.abusive, abusive, 'write a number with at most three decimals, as 0.3')
  if (good !== undefined && good < 1)
    problems.push({
      path: 'good',
      message: `x${good} would lower the limits of good senders`,
      remedy: 'write 1 or more, as 1.2',
    })
  if (abusive !== undefined && abusive > 1)
    problems.push({
      path: 'abusive',
      message: `x${abusive} would raise the limits of abusive senders`,
      remedy: 'write 1 or less, as 0.3',
    })
  if (!SENDER_PARTS.includes(per)) {
    const remedy = `use one of ${SENDER_PARTS.join(', ')}`
    problems.push({ path: 'per', message: `${JSON.stringify(per)} is not a part of a sender`, remedy })
  }
  if (good === undefined || abusive === undefined || problems.length > 0) throw new PolicyError(problems)
  return { factors: { good, usual: 1, abusive }, per }
}

function readFactor(value: number | string): number | undefined {
  const text = String(value).trim()
  try {
    return parseFactor(text.startsWith('x') ? text : `x${text}`) / 1000
  } catch {
    return undefined
  }
}

/** Messages of one sender in the current hour, and the end of its abusive state. */
export interface BehaviourCount {
  readonly whom: SenderIdentifier
  /** End of the current hour. */
  endsMs: number
  messages: number
  refused: number
  wasGood: boolean
  abusiveUntilMs: number
}

const HOUR_MS = 3_600_000
const MIN_MESSAGES = 10
const MAX_GOOD_MESSAGES = 1_000
const MAX_GOOD_REFUSED = 0.05
const MAX_USUAL_MESSAGES = 10_000
const MAX_USUAL_REFUSED = 0.5
/** Number of counted messages per move of a sender to the end of the eviction order. */
const MOVE_INTERVAL = 64
/** Reasons that the sender did not cause, or that have other consequences already. */
const UNCOUNTED_REASONS: ReadonlySet<string> = new Set([
  'banned',
  'store_unavailable',
  'handler_busy',
  'handler_failing',
  'unchanged',
])

/**
 * Behaviour of senders by the hour. Good: 10 to 1000 messages in the previous hour, less than 5 % refused.
 * Abusive, until the end of the next hour: more than 50 % of at least 10 messages refused, or more than
 * 10,000 messages. Refusals in the abusive state do not count. Why: the smaller limit would otherwise keep
 * the state alive. Bounded: the least recent senders are forgotten.
 */
export class BehaviourTracker {
  readonly #counts = new Map<string, BehaviourCount>()
  /** End of the abusive state by sender, as found by this or other nodes. */
  readonly #abusiveUntilMs = new Map<string, number>()
  /** Called once for each sender that turns abusive. */
  onAbusive: (sender: SenderIdentifier, reason: string, untilMs: number) => void = () => {}

  /** Number of counted senders. */
  get size(): number {
    return this.#counts.size
  }

  /** Returns the count of a sender, creating it if necessary. Returns undefined for a sender without a name. */
  countOf(sender: Sender, per: SenderPart): BehaviourCount | undefined {
    const whom = getSenderIdentifier(sender, per)
    return whom && this.countFor(whom)
  }

  countFor(whom: SenderIdentifier): BehaviourCount {
    const key = keyOf(whom)
    const known = this.#counts.get(key)
    if (known !== undefined) return known
    const abusiveUntilMs = this.#abusiveUntilMs.get(key) ?? 0
    const count: BehaviourCount = { whom, endsMs: 0, messages: 0, refused: 0, wasGood: false, abusiveUntilMs }
    this.#moveToEnd(key, count)
    return count
  }

  /**
   * Counts a decision. Delayed messages count when they are decided finally. Refusals that the sender did not
   * cause, such as bans, do not count.
   */
  record(count: BehaviourCount, decision: Decision, nowMs: number): void {
    const { allowed } = decision
    if (!allowed && !isCounted(decision)) return
    if (nowMs >= count.endsMs) startHour(count, nowMs)
    // Why not at each message: the eviction order need not be exact.
    if (count.messages % MOVE_INTERVAL === 0) this.#moveToEnd(keyOf(count.whom), count)
    const messages = ++count.messages
    if (!allowed && decision.outcome !== 'redirect' && nowMs >= count.abusiveUntilMs) count.refused++
    // An allowed message changes the state only if it completes the minimum or exceeds the maximum.
    if (!allowed || messages === MIN_MESSAGES || messages > MAX_USUAL_MESSAGES)
      this.#updateLevel(count, nowMs)
  }

  #updateLevel(count: BehaviourCount, nowMs: number): void {
    const { messages, refused, endsMs } = count
    const isMuch = messages > MAX_USUAL_MESSAGES
    if (!isMuch && (messages < MIN_MESSAGES || refused <= MAX_USUAL_REFUSED * messages)) return
    const untilMs = endsMs + HOUR_MS
    if (count.abusiveUntilMs >= untilMs || (!isMuch && nowMs < count.abusiveUntilMs)) return
    count.abusiveUntilMs = untilMs
    this.onAbusive(
      count.whom,
      isMuch ? `${messages} messages in an hour` : `${refused} of ${messages} refused`,
      untilMs,
    )
  }

  /** Marks a sender as abusive until a time, even if it is not counted here. */
  setAbusive(whom: SenderIdentifier, untilMs: number): void {
    const key = keyOf(whom)
    this.#abusiveUntilMs.set(key, untilMs)
    const count = this.#counts.get(key)
    if (count !== undefined) count.abusiveUntilMs = untilMs
  }

  /** Ends the abusive state of a sender. */
  clearAbusive(whom: SenderIdentifier, nowMs: number): void {
    const key = keyOf(whom)
    this.#abusiveUntilMs.delete(key)
    const count = this.#counts.get(key)
    if (count !== undefined) count.abusiveUntilMs = Math.min(count.abusiveUntilMs, nowMs)
  }

  #moveToEnd(key: string, count: BehaviourCount): void {
    this.#counts.delete(key)
    if (this.#counts.size >= MAX_SIZES.trackedSenders) this.#counts.delete(this.#counts.keys().next().value!)
    this.#counts.set(key, count)
  }
}

/** Returns the behaviour level of a count. */
export function behaviourLevelOf(count: BehaviourCount, nowMs: number): BehaviourLevel {
  if (nowMs < count.abusiveUntilMs) return 'abusive'
  if (nowMs >= count.endsMs) startHour(count, nowMs)
  return count.wasGood ? 'good' : 'usual'
}

function isCounted({ outcome, reason }: Decision): boolean {
  return (
    outcome !== 'throttle' && outcome !== 'queue' && outcome !== 'latest' && !UNCOUNTED_REASONS.has(reason)
  )
}

/** Begins the hour of `nowMs` and evaluates the previous one. */
function startHour(count: BehaviourCount, nowMs: number): void {
  const { messages, refused, endsMs, abusiveUntilMs } = count
  const isNext = nowMs < endsMs + HOUR_MS
  const isFree = abusiveUntilMs <= endsMs - HOUR_MS
  count.wasGood =
    isNext &&
    isFree &&
    messages >= MIN_MESSAGES &&
    messages <= MAX_GOOD_MESSAGES &&
    refused < MAX_GOOD_REFUSED * messages
  count.endsMs = (Math.floor(nowMs / HOUR_MS) + 1) * HOUR_MS
  count.messages = count.refused = 0
}

function keyOf({ part, text }: SenderIdentifier): string {
  return `${part}:${text}`
}
