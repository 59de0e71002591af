/** What becomes of a message, mildest first; of several denials the harshest wins. */
export const OUTCOMES = [
  'deliver',
  'degrade',
  'latest',
  'throttle',
  'queue',
  'retry',
  'redirect',
  'drop',
  'reject',
  'disconnect',
] as const

export type Outcome = (typeof OUTCOMES)[number]

/** How harsh an outcome is: its place in {@link OUTCOMES}. */
export const HARSHNESS: Readonly<Record<Outcome, number>> = Object.fromEntries(
  OUTCOMES.map((outcome, index) => [outcome, index]),
) as Record<Outcome, number>

export type Reason =
  | 'ok'
  | 'exempt'
  | 'override'
  | 'rate_limit_exceeded'
  | 'quota_exceeded'
  /** A broker holds as many connections, subscriptions or retained messages as a rule allows. */
  | 'connections_exceeded'
  | 'subscriptions_exceeded'
  | 'retained_exceeded'
  | 'banned'
  /** Larger than a rule's maximum size. */
  | 'too_large'
  | 'store_unavailable'
  /** A rate by feedback, or a breaker, spares the handler behind the gate: no doing of the sender's. */
  | 'handler_busy'
  | 'handler_failing'
  /** A newer message of the same topic took its place. */
  | 'superseded'

/** What limits are multiplied by at the moment, and why. */
export interface Scaled {
  readonly factor: number
  /** As `load high` or `cpu above 80%`. */
  readonly reason: string
}

/** The answer to a message. */
export interface Decision {
  /** True for `deliver` and `degrade`. */
  readonly allowed: boolean
  readonly outcome: Outcome
  /** A {@link Reason}, or a word of middleware of the user's own. */
  readonly reason: Reason | (string & {})
  /** The rule that denied, or of an allowed message the one nearest to its limit; absent where none applied. */
  readonly rule?: string | undefined
  /** The most the rule can hold: a token bucket's burst, any other rule's count. */
  readonly limit?: number | undefined
  /** Whole units left. */
  readonly remaining?: number | undefined
  /** Whole milliseconds after which the same message passes; 0 when allowed, `Infinity` when it never can. */
  readonly retryAfterMs: number
  /** Whole milliseconds until the rule is whole again. */
  readonly resetMs?: number | undefined
  /** Shadow rules that would have refused. */
  readonly shadow?: readonly string[] | undefined
  /** Answered without the policy's store. */
  readonly fallback?: boolean | undefined
  /** The exemption that let it pass, where it has a name. */
  readonly exemption?: string | undefined
  /** The named rule's limit is scaled: `limit` says to what. */
  readonly scaled?: Scaled | undefined
}

/** No rule applied. */
export const PASSED: Decision = Object.freeze({
  allowed: true,
  outcome: 'deliver',
  reason: 'ok',
  retryAfterMs: 0,
})

/** An override has lifted every limit that applies, or all of the rules that would have applied. */
export const OVERRIDDEN: Decision = Object.freeze({ ...PASSED, reason: 'override' })
