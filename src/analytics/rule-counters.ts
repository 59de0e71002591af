import { type Decision, HARSHNESS, OUTCOMES, type Outcome, type Reason } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { isNonEmptyString } from '../core/message.ts'
import type { TopList } from './combine-summaries.ts'
import { HeavyHitters, type SerializedHeavyHitters } from './heavy-hitters.ts'

/** Reasons in the order of the counts; any other reason is counted as the last. */
export const COUNTED_REASONS: readonly (Reason | 'other')[] = [
  'ok',
  'exempt',
  'override',
  'rate_limit_exceeded',
  'quota_exceeded',
  'banned',
  'store_unavailable',
  'superseded',
  'handler_busy',
  'handler_failing',
  'connections_exceeded',
  'subscriptions_exceeded',
  'retained_exceeded',
  'too_large',
  'unchanged',
  'other',
]
const REASON_INDEXES: ReadonlyMap<string, number> = new Map(
  COUNTED_REASONS.map((reason, index) => [reason, index]),
)
const OTHER_REASON = COUNTED_REASONS.length - 1

/** Name for the rules and tiers beyond the counted ones. */
export const OTHER = 'other'

/** Counters of one rule and one tier, by reason; decisions without a rule have the empty name. */
export class RuleTierCounters {
  readonly counters: RuleCounters
  readonly rule: string
  readonly tier: string
  /** Index of the tier. */
  readonly index: number
  readonly allowed = new Float64Array(COUNTED_REASONS.length)
  readonly blocked = new Float64Array(COUNTED_REASONS.length)
  /** Decisions by index in {@link OUTCOMES}; `deliver` is not counted here. */
  readonly #outcomes = new Float64Array(OUTCOMES.length)
  /** Outcome counted last, because a rule most often has only one besides `deliver`; its index. */
  #lastOutcome: Outcome = 'throttle'
  #lastOutcomeIndex = HARSHNESS.throttle
  /** Decisions that the store did not make. */
  fallbacks = 0
  /** Sum of the remaining units, and the number of decisions. */
  readonly remaining = new Float64Array(2)

  constructor(counters: RuleCounters, tier: string, index: number) {
    this.counters = counters
    this.rule = counters.rule
    this.tier = tier
    this.index = index
  }

  record({ allowed, outcome, reason, remaining, fallback }: Decision): void {
    if (outcome !== 'deliver') this.#recordOutcome(outcome)
    if (fallback === true) this.fallbacks++
    const counts = allowed ? this.allowed : this.blocked
    // The most common reason comes first, because a look-up costs 10 ns.
    const index =
      reason === 'ok'
        ? 0
        : reason === 'rate_limit_exceeded'
          ? 3
          : (REASON_INDEXES.get(reason) ?? OTHER_REASON)
    counts[index]!++
    if (remaining !== undefined) {
      this.remaining[0]! += remaining
      this.remaining[1]!++
    }
  }

  toDelta(): TierDelta {
    const { tier, allowed, blocked, fallbacks, remaining } = this
    return {
      tier,
      allowed: [...allowed],
      blocked: [...blocked],
      outcomes: [...this.#outcomes],
      fallbacks,
      remaining: [...remaining],
    }
  }

  add(delta: TierDelta): void {
    addTo(this.allowed, delta.allowed)
    addTo(this.blocked, delta.blocked)
    addTo(this.#outcomes, delta.outcomes)
    addTo(this.remaining, delta.remaining)
    this.fallbacks += delta.fallbacks
  }

  /** Returns the number of decisions with an outcome. */
  countOf(outcome: Outcome): number {
    // Every other allowed decision is delivered as it is.
    return outcome === 'deliver'
      ? sumOf(this.allowed) - this.#outcomes[HARSHNESS.degrade]!
      : this.#outcomes[HARSHNESS[outcome]]!
  }

  #recordOutcome(outcome: Outcome): void {
    if (outcome !== this.#lastOutcome) {
      this.#lastOutcome = outcome
      this.#lastOutcomeIndex = HARSHNESS[outcome]
    }
    this.#outcomes[this.#lastOutcomeIndex]!++
  }
}

/** Counts of a rule and a tier, for another process of the same version. */
interface TierDelta {
  readonly tier: string
  readonly allowed: readonly number[]
  readonly blocked: readonly number[]
  readonly outcomes: readonly number[]
  readonly fallbacks: number
  readonly remaining: readonly number[]
}

/** Counts of a rule, for another process of the same version. */
export interface RuleDelta {
  readonly rule: string
  readonly shadowRefusals: number
  readonly tiers: readonly TierDelta[]
  /** Those of {@link Violations}; undefined without violations. */
  readonly lists: readonly SerializedHeavyHitters[] | undefined
}

/** Metrics of a rule since the start or the last reset. */
export interface RuleMetrics {
  readonly rule: string
  readonly total: number
  readonly allowed: number
  readonly denied: number
  /** Messages that the rule would have refused, had it not been in shadow. They are not part of the total. */
  readonly shadowRefusals: number
  /** Denied ÷ total. */
  readonly hitRate: number
  /** Mean of the units left after a decision; absent if none reported it. */
  readonly meanRemaining?: number | undefined
  /** Who exceeds the rule most, also in shadow. */
  readonly violations: Violations
}

/** Clients, users, addresses and topics that exceed a rule most. */
export interface Violations {
  readonly clients: TopList
  readonly users: TopList
  readonly ips: TopList
  readonly topics: TopList
}

/** Names of a sender that exceeds a rule. */
export interface Violator {
  readonly clientId: string | undefined
  readonly user: string | undefined
  readonly ip: string | undefined
  readonly topic: string
}

const TOP_COUNT = 10
const NO_NAMES: TopList = { error: 0, list: [] }
export const NO_VIOLATIONS: Violations = {
  clients: NO_NAMES,
  users: NO_NAMES,
  ips: NO_NAMES,
  topics: NO_NAMES,
}

/** Counters of one rule by tier, and its most refused senders. */
export class RuleCounters {
  readonly rule: string
  /** Unique id; the counters of the same rule after a reset have another. */
  readonly id: number
  /** Counters by tier index. */
  readonly series = new Map<number, RuleTierCounters>()
  shadowRefusals = 0
  /** Refusals already reported. */
  #reported = 0
  /** Those of {@link Violations}, in this order. */
  #lists: readonly HeavyHitters[] | undefined

  constructor(rule: string, id: number) {
    this.rule = rule
    this.id = id
  }

  get hasLists(): boolean {
    return this.#lists !== undefined
  }

  recordViolation({ clientId, user, ip, topic }: Violator, times: number): void {
    this.#lists ??= createLists()
    const [clients, users, ips, topics] = this.#lists
    if (isNonEmptyString(clientId)) clients!.add(clientId, times)
    if (isNonEmptyString(user)) users!.add(user, times)
    if (isNonEmptyString(ip)) ips!.add(ip, times)
    topics!.add(topic, times)
  }

  toDelta(): RuleDelta {
    const { rule, shadowRefusals } = this
    const counted = [...this.series.values()].filter(
      ({ allowed, blocked }) => sumOf(allowed) + sumOf(blocked) > 0,
    )
    return {
      rule,
      shadowRefusals,
      tiers: counted.map(series => series.toDelta()),
      lists: this.#lists?.map(list => list.record()),
    }
  }

  /** Adds lists of violations that another process has counted. */
  addViolations(lists: readonly SerializedHeavyHitters[]): void {
    this.#lists ??= createLists()
    for (const [index, list] of this.#lists.entries()) list.merge(lists[index]!)
  }

  /** Returns the refusals since the last call. */
  drainRefusals(): number {
    let denied = 0
    for (const { blocked } of this.series.values()) denied += sumOf(blocked)
    const times = denied - this.#reported
    this.#reported = denied
    return times
  }

  metrics(): RuleMetrics {
    let [allowed, denied, left, reportCount] = [0, 0, 0, 0]
    for (const series of this.series.values()) {
      allowed += sumOf(series.allowed)
      denied += sumOf(series.blocked)
      left += series.remaining[0]!
      reportCount += series.remaining[1]!
    }
    const total = allowed + denied
    return {
      rule: this.rule,
      total,
      allowed,
      denied,
      shadowRefusals: this.shadowRefusals,
      hitRate: total === 0 ? 0 : denied / total,
      meanRemaining: reportCount === 0 ? undefined : left / reportCount,
      violations: this.#violations(),
    }
  }

  #violations(): Violations {
    if (this.#lists === undefined) return NO_VIOLATIONS
    const [clients, users, ips, topics] = this.#lists.map(list => ({
      error: list.error,
      list: list.top(TOP_COUNT),
    }))
    return { clients: clients!, users: users!, ips: ips!, topics: topics! }
  }
}

/** Counters of all rules and tiers, bounded whatever rules middleware adds and tiers senders have. */
export class RuleCounterMap {
  readonly #counters = new Map<string, RuleCounters>()
  /** Tiers by index; {@link OTHER} has the index after the last. */
  readonly #tiers: string[] = ['']
  #lists = 0
  #ids = 0

  /** Returns the counters of a rule and the tier at an index; those of `other` if there are too many rules. */
  series(rule: string, index: number): RuleTierCounters {
    const counters = this.#countersOf(rule)
    let series = counters.series.get(index)
    if (series === undefined) {
      series = new RuleTierCounters(counters, this.#tiers[index] ?? OTHER, index)
      counters.series.set(index, series)
    }
    return series
  }

  /** Returns the index of a tier, valid until the next reset; that of `other` if there are too many tiers. */
  tierIndexOf(tier: string): number {
    const known = this.#tiers.indexOf(tier)
    if (known >= 0) return known
    if (this.#tiers.length > MAX_SIZES.metricTiers) return MAX_SIZES.metricTiers + 1
    return this.#tiers.push(tier) - 1
  }

  /** Counts a message that rules in shadow would have refused. Returns their counters. */
  recordShadowRefusals(rules: readonly string[]): readonly RuleCounters[] {
    return rules.map(rule => {
      const counters = this.#countersOf(rule)
      counters.shadowRefusals++
      return counters
    })
  }

  /** Counts a sender that exceeds a rule; does nothing if too many rules have lists. */
  recordViolation(counters: RuleCounters, violator: Violator, times: number): void {
    if (this.#hasRoomForLists(counters)) counters.recordViolation(violator, times)
  }

  /** Adds the counts of another process. Its refusals are not reported by `drainRefusals`: call that before. */
  add({ rule, shadowRefusals, tiers, lists }: RuleDelta): void {
    const counters = this.#countersOf(rule)
    counters.shadowRefusals += shadowRefusals
    for (const delta of tiers) this.series(rule, this.tierIndexOf(delta.tier)).add(delta)
    if (lists !== undefined && this.#hasRoomForLists(counters)) counters.addViolations(lists)
    counters.drainRefusals()
  }

  /** Returns true if a rule has lists of violations or may get them now. */
  #hasRoomForLists(counters: RuleCounters): boolean {
    if (counters.hasLists) return true
    if (this.#lists >= MAX_SIZES.violationRules) return false
    this.#lists++
    return true
  }

  /** Reports the refusals of each rule since the last call. */
  drainRefusals(count: (rule: string, times: number) => void): void {
    for (const counters of this.#counters.values()) {
      const times = counters.drainRefusals()
      if (times > 0 && counters.rule !== '') count(counters.rule, times)
    }
  }

  allRules(): readonly RuleCounters[] {
    return [...this.#counters.values()]
  }

  metrics(): readonly RuleMetrics[] {
    return this.allRules()
      .filter(({ rule }) => rule !== '')
      .map(counters => counters.metrics())
  }

  /** Resets one rule, or all. */
  reset(rule?: string): void {
    if (rule === undefined) {
      this.#counters.clear()
      this.#tiers.length = 1
      this.#lists = 0
    } else this.#forget(rule)
  }

  /** Removes the rules that are no longer in the policy. */
  retainRules(rules: readonly string[]): void {
    const kept = new Set(['', ...rules])
    for (const rule of this.#counters.keys()) if (!kept.has(rule)) this.#forget(rule)
  }

  #forget(rule: string): void {
    if (this.#counters.get(rule)?.hasLists) this.#lists--
    this.#counters.delete(rule)
  }

  #countersOf(rule: string): RuleCounters {
    const known = this.#counters.get(rule)
    if (known !== undefined) return known
    const name = rule !== '' && this.#counters.size >= MAX_SIZES.metricRules ? OTHER : rule
    const counters = this.#counters.get(name) ?? new RuleCounters(name, this.#ids++)
    this.#counters.set(name, counters)
    return counters
  }
}

function createLists(): readonly HeavyHitters[] {
  return Object.keys(NO_VIOLATIONS).map(() => new HeavyHitters(MAX_SIZES.violationNames))
}

function addTo(counts: Float64Array, more: readonly number[]): void {
  for (const [index, count] of more.entries()) counts[index]! += count
}

export function sumOf(counts: Float64Array): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
