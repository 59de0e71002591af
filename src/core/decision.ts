/** Possible outcomes of a message, mildest first. Of several denials, the harshest wins. */
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

/** Harshness of an outcome: its index in {@link OUTCOMES}. */
export const HARSHNESS: Readonly<Record<Outcome, number>> = Object.fromEntries(
  OUTCOMES.map((outcome, index) => [outcome, index]),
) as Record<Outcome, number>

export type Reason =
  | 'ok'
  | 'exempt'
  | 'override'
  | 'rate_limit_exceeded'
  | 'quota_exceeded'
  /** A broker holds the maximum number of connections, subscriptions or retained messages. */
  | 'connections_exceeded'
  | 'subscriptions_exceeded'
  | 'retained_exceeded'
  | 'banned'
  /** The application's own authorization refused it. */
  | 'not_authorized'
  /** The message exceeds a maximum size. */
  | 'too_large'
  /** The payload equals the last one of its topic. */
  | 'unchanged'
  | 'store_unavailable'
  /** A rate by feedback, an `inFlight` limit or a breaker protects the handler. Not caused by the sender. */
  | 'handler_busy'
  | 'handler_failing'
  /** A newer message of the same topic replaced it. */
  | 'superseded'

/** Current factor of limits, with its reason. */
export interface Scaled {
  readonly factor: number
  /** Such as `load high` or `cpu above 80%`. */
  readonly reason: string
}

/** Result of checking a message. */
export interface Decision {
  /** True for `deliver` and `degrade`. */
  readonly allowed: boolean
  readonly outcome: Outcome
  /** A {@link Reason}, or a reason of custom middleware. */
  readonly reason: Reason | (string & {})
  /** Rule that denied the message, or the rule nearest to its limit; absent if no rule applied. */
  readonly rule?: string | undefined
  /** Capacity of the rule: the burst of a token bucket, the count of other rules. */
  readonly limit?: number | undefined
  /** Remaining whole units. */
  readonly remaining?: number | undefined
  /** Whole milliseconds after which the same message passes; 0 if allowed, `Infinity` if it never can. */
  readonly retryAfterMs: number
  /** Whole milliseconds until the rule is full again. */
  readonly resetMs?: number | undefined
  /** Shadow rules that would have refused. */
  readonly shadow?: readonly string[] | undefined
  /** True if decided without the policy's store. */
  readonly fallback?: boolean | undefined
  /** Name of the exemption that let it pass, if it has one. */
  readonly exemption?: string | undefined
  /** Factor of the rule's limit. `limit` is the scaled value. */
  readonly scaled?: Scaled | undefined
}

/** Decision if no rule applied. */
export const PASSED: Decision = Object.freeze({
  allowed: true,
  outcome: 'deliver',
  reason: 'ok',
  retryAfterMs: 0,
})

/** Decision if an override lifted every limit that would have applied. */
export const PASSED_BY_OVERRIDE: Decision = Object.freeze({ ...PASSED, reason: 'override' })
