import type { Decision, Reason } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { isNamed } from '../core/message.ts'
import { HeavyHitters } from './heavy-hitters.ts'
import type { TopList } from './snapshot.ts'

/** Reasons in the order of a series' counts; any other is counted as the last. */
export const REASONS = [
  ...['ok', 'exempt', 'override', 'rate_limit_exceeded', 'quota_exceeded', 'banned'],
  ...['store_unavailable', 'superseded', 'handler_busy', 'handler_failing'],
  ...['connections_exceeded', 'subscriptions_exceeded', 'retained_exceeded', 'too_large', 'other'],
] as const satisfies readonly (Reason | 'other')[] as readonly (Reason | 'other')[]
const PLACES: ReadonlyMap<string, number> = new Map(REASONS.map((reason, place) => [reason, place]))
const OTHER_REASON = REASONS.length - 1

/** Stands for rules and tiers beyond those that are counted each. */
export const OTHER = 'other'

/** The decisions of one rule about senders of one tier, by reason; decisions without a rule have the empty name. */
export class Series {
  readonly counters: RuleCounters
  readonly rule: string
  readonly tier: string
  /** The place of the tier among all. */
  readonly place: number
  readonly allowed = new Float64Array(REASONS.length)
  readonly blocked = new Float64Array(REASONS.length)
  /** Sum of what was left, and of how many decisions. */
  readonly remaining = new Float64Array(2)

  constructor(counters: RuleCounters, tier: string, place: number) {
    this.counters = counters
    this.rule = counters.rule
    this.tier = tier
    this.place = place
  }

  note({ allowed, reason, remaining }: Decision): void {
    const counts = allowed ? this.allowed : this.blocked
    // By far the most common first: a look-up costs 10 ns.
    const place =
      reason === 'ok' ? 0 : reason === 'rate_limit_exceeded' ? 3 : (PLACES.get(reason) ?? OTHER_REASON)
    counts[place]!++
    if (remaining !== undefined) {
      this.remaining[0]! += remaining
      this.remaining[1]!++
    }
  }
}

/** What a rule has decided since the start or the last reset. */
export interface RuleMetrics {
  readonly rule: string
  readonly total: number
  readonly allowed: number
  readonly denied: number
  /** Denied ÷ total: how often the limit was hit. */
  readonly hitRate: number
  /** Units left after a decision, on average; absent where none told of it. */
  readonly meanRemaining?: number | undefined
  /** Who and what was refused most often. */
  readonly violations: { readonly users: TopList; readonly ips: TopList; readonly topics: TopList }
}

const TOP = 10
const NOBODY: TopList = { error: 0, list: [] }

/** All series of one rule, and whom it refuses. */
export class RuleCounters {
  readonly rule: string
  /** Of this tally alone: one of the same rule made after a reset has another. */
  readonly id: number
  /** By the place of their tier. */
  readonly series = new Map<number, Series>()
  /** Refusals that were given away. */
  #settled = 0
  #users: HeavyHitters | undefined
  #ips: HeavyHitters | undefined
  #topics: HeavyHitters | undefined

  constructor(rule: string, id: number) {
    this.rule = rule
    this.id = id
  }

  get lists(): boolean {
    return this.#topics !== undefined
  }

  violate(user: string | undefined, ip: string | undefined, topic: string, times: number): void {
    this.#users ??= new HeavyHitters(MAX_SIZES.violationNames)
    this.#ips ??= new HeavyHitters(MAX_SIZES.violationNames)
    this.#topics ??= new HeavyHitters(MAX_SIZES.violationNames)
    if (isNamed(user)) this.#users.add(user, times)
    if (isNamed(ip)) this.#ips.add(ip, times)
    this.#topics.add(topic, times)
  }

  /** How often it has refused since this was last asked. */
  settle(): number {
    let denied = 0
    for (const { blocked } of this.series.values()) denied += sumOf(blocked)
    const times = denied - this.#settled
    this.#settled = denied
    return times
  }

  metrics(): RuleMetrics {
    let [allowed, denied, left, told] = [0, 0, 0, 0]
    for (const series of this.series.values()) {
      allowed += sumOf(series.allowed)
      denied += sumOf(series.blocked)
      left += series.remaining[0]!
      told += series.remaining[1]!
    }
    const total = allowed + denied
    const [users, ips, topics] = [this.#users, this.#ips, this.#topics].map(
      list => list && { error: list.error, list: list.top(TOP) },
    )
    return {
      rule: this.rule,
      total,
      allowed,
      denied,
      hitRate: total === 0 ? 0 : denied / total,
      ...(told === 0 ? {} : { meanRemaining: left / told }),
      violations: { users: users ?? NOBODY, ips: ips ?? NOBODY, topics: topics ?? NOBODY },
    }
  }
}

export function sumOf(counts: Float64Array): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
