import type { SenderState } from '../chain/senders/sender-state.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message, Sender } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { Gate } from '../gate/gate.ts'
import type { RuleInfo } from '../outcomes/rule-info.ts'
import {
  type AnalyticsSnapshot,
  combineSummaries,
  listRefusedClients,
  type SnapshotRange,
  type TopList,
} from './combine-summaries.ts'
import { AnalyticsHistory } from './history.ts'
import { RefusalAggregator } from './refusal-aggregator.ts'
import {
  RuleCounterMap,
  type RuleCounters,
  type RuleDelta,
  type RuleMetrics,
  type RuleTierCounters,
} from './rule-counters.ts'
import { analyticsName } from './shorten-name.ts'
import { SpanSummary, type SummaryRecord } from './span-summary.ts'

export interface AnalyticsOptions {
  readonly gate: Gate
  /** Default: the gate's. */
  readonly clock?: Clock | undefined
}

const OPTIONS: KnownOptions<AnalyticsOptions> = { gate: true, clock: true }

/** Decisions since the start. */
export interface DecisionTotals {
  readonly total: number
  readonly blocked: number
}

/** Refused message and its sender; `count` is the number of equal refusals that are reported together. */
export type RefusalListener = (
  decision: RefusedDecision,
  message: Pick<Message, 'topic' | 'on'>,
  sender: Sender,
  count: number,
) => void

export type RefusedDecision = Pick<
  Decision,
  'rule' | 'reason' | 'outcome' | 'limit' | 'remaining' | 'retryAfterMs'
>

/** Counts of a process since it reported last, for another process of the same version. */
export interface AnalyticsDelta {
  readonly rules: readonly RuleDelta[]
  readonly slices: readonly SummaryRecord[]
}

/** A sender state's mark holds the number of a slice and, in these low bits, the index of a tier. */
const INDEX_BITS = 5
const MAX_TIER_INDEX = 2 ** INDEX_BITS - 1

let slices = 0

/**
 * Counts the decisions of a gate: totals and blocked ones, distinct clients, the most refused clients, topics and
 * rules; by hour, by day and by rule. Totals are exact; lists of names report their maximum error. Uses under 20 MB,
 * whatever clients send.
 */
export class Analytics {
  readonly #gate: Gate
  readonly #clock: Clock
  readonly #history: AnalyticsHistory
  readonly #counters = new RuleCounterMap()
  readonly #refusals: RefusalAggregator
  /** Number of the open slice, unique among all analytics; a sender state stores the slice it was last counted in. */
  #slice = ++slices
  #sliceEndsMs: number
  /** Totals of the closed slices. */
  #closedTotals: DecisionTotals = { total: 0, blocked: 0 }
  /** Counters of the last decision, because the next decision most often uses the same. */
  #lastSeries: RuleTierCounters
  #refusalListeners: readonly RefusalListener[] = []
  readonly #unsubscribe: () => void
  readonly #onPolicy = (): void => {
    this.#countPending()
    this.#counters.retainRules(this.#gate.rules())
    this.#lastSeries = this.#counters.series('', 0)
  }

  /** Listens to the gate until `close`. */
  constructor(options: AnalyticsOptions) {
    checkOptionNames(options, OPTIONS)
    const { gate, clock } = options
    this.#gate = gate
    this.#clock = clock ?? gate.clock
    this.#history = new AnalyticsHistory(this.#clock.now())
    this.#sliceEndsMs = this.#history.open.endMs
    this.#lastSeries = this.#counters.series('', 0)
    this.#refusals = new RefusalAggregator(refused => {
      const { open } = this.#history
      // List by list, so that each is in the CPU caches from its second name on.
      for (const { client, times, isShadow } of refused) if (!isShadow) open.clients.add(client, times)
      for (const { topic, times, isShadow } of refused) if (!isShadow) open.topics.add(topic, times)
      for (const each of refused) this.#counters.recordViolation(each.counters, each, each.times)
    })
    this.#unsubscribe = gate.countBy(this)
    gate.on('policy', this.#onPolicy)
  }

  /** Returns the decisions of the last hour (in steps of five minutes), 24 hours or 7 days (UTC) as plain JSON. */
  snapshot(range: SnapshotRange = '1h'): AnalyticsSnapshot {
    this.#closeDueSlice()
    return combineSummaries(this.#history.summaries(), range, this.#clock.now())
  }

  /** Returns the most refused clients of a range. Cheaper than a snapshot. */
  refusedClients(range: SnapshotRange, count: number): TopList {
    this.#closeDueSlice()
    return listRefusedClients(this.#history.summaries(), range, this.#clock.now(), count)
  }

  totals(): DecisionTotals {
    const { open } = this.#history
    return {
      total: this.#closedTotals.total + open.total,
      blocked: this.#closedTotals.blocked + open.blocked,
    }
  }

  /**
   * Calls a listener with each refusal and its sender, with the parts that the policy adds. Returns a function that
   * removes it. Cheaper than a listener of decisions, because passing messages cost nothing.
   */
  onRefusal(listener: RefusalListener): () => void {
    this.#refusalListeners = [...this.#refusalListeners, listener]
    return () => {
      this.#refusalListeners = this.#refusalListeners.filter(each => each !== listener)
    }
  }

  /** Returns metrics by rule, in the order of first use. */
  rules(): readonly RuleMetrics[] {
    this.#countPending()
    return this.#counters.metrics()
  }

  /** Returns counters by rule, in the order of first use, for the exposition of metrics. */
  ruleCounters(): readonly RuleCounters[] {
    return this.#counters.allRules()
  }

  /** Returns counters by rule and tier, for the exposition of metrics. */
  series(): readonly RuleTierCounters[] {
    return this.ruleCounters().flatMap(({ series }) => [...series.values()])
  }

  /**
   * Returns the rules of the gate, whose metrics exist before their first decision. Empty if there are too many to count
   * each of them separately.
   */
  knownRules(): readonly RuleInfo[] {
    const names = this.#gate.rules()
    // One entry is for decisions without a rule.
    if (names.length >= MAX_SIZES.metricRules) return []
    return names.flatMap(name => this.#gate.ruleOf(name) ?? [])
  }

  /** Returns the tiers of the policy, and the empty one of senders without a tier. */
  knownTiers(): readonly string[] {
    const tiers = Object.keys(this.#gate.policy?.document.tiers ?? {})
    return tiers.length >= MAX_SIZES.metricTiers ? [''] : ['', ...tiers]
  }

  /** Returns the scope of a rule, such as `client+topic`; empty for an unknown rule. */
  scopeOf(rule: string): string {
    return this.#gate.ruleOf(rule)?.per.join('+') ?? ''
  }

  /** Resets the counters of one rule or all; the history stays. */
  reset(rule?: string): void {
    this.#countPending()
    this.#counters.reset(rule)
    // Tiers may have other indexes now.
    this.#slice = ++slices
    this.#lastSeries = this.#counters.series('', 0)
  }

  /**
   * Returns summaries of spans that end after `sinceMs`, default all, to be stored and merged with those of other
   * nodes.
   */
  summaries(sinceMs = 0): readonly SummaryRecord[] {
    this.#closeDueSlice()
    const all = this.#history.summaries()
    return all.filter(({ total, endMs }) => total > 0 && endMs > sinceMs).map(one => one.record())
  }

  /** Returns the counts since the last call, and begins at zero again. */
  drain(): AnalyticsDelta {
    this.#countPending()
    const rules = this.#counters
      .allRules()
      .map(counters => counters.toDelta())
      .filter(({ tiers, shadowRefusals }) => tiers.length > 0 || shadowRefusals > 0)
    const slices = this.#history.drain(this.#clock.now()).map(slice => slice.record())
    this.#sliceEndsMs = this.#history.open.endMs
    this.#closedTotals = { total: 0, blocked: 0 }
    this.reset()
    return { rules, slices }
  }

  /** Adds what another process has counted. */
  add({ rules, slices }: AnalyticsDelta): void {
    this.#closeDueSlice()
    for (const rule of rules) this.#counters.add(rule)
    for (const record of slices) {
      const slice = SpanSummary.fromRecord(record)
      if (slice === undefined) continue
      if (slice.startMs !== this.#history.open.startMs) {
        const { total, blocked } = this.#closedTotals
        this.#closedTotals = { total: total + slice.total, blocked: blocked + slice.blocked }
      }
      this.#history.add(slice, this.#clock.now())
    }
  }

  /** Calls the listeners of refusals with those that another process has counted. */
  reportRefusals(...[decision, message, sender, count]: Parameters<RefusalListener>): void {
    for (const listener of this.#refusalListeners) listener(decision, message, sender, count)
  }

  /** Counts one decision. */
  count(decision: Decision, message: Message, senderState: SenderState): void {
    const { sender } = message
    if (this.#clock.now() >= this.#sliceEndsMs) this.#closeDueSlice()
    // The sender state's mark identifies slice and tier, so that no other field of the sender is read.
    const isCounted = senderState.analyticsSlice >> INDEX_BITS === this.#slice
    const index = isCounted
      ? senderState.analyticsSlice & MAX_TIER_INDEX
      : this.#countClient(senderState, sender)
    const { open } = this.#history
    open.total++
    const rule = decision.rule ?? ''
    let series = this.#lastSeries
    if (series.rule !== rule || series.index !== index) {
      series = this.#counters.series(rule, index)
      this.#lastSeries = series
    }
    series.record(decision)
    if (decision.shadow !== undefined) {
      for (const counters of this.#counters.recordShadowRefusals(decision.shadow))
        this.#recordRefused(message, senderState, counters, true)
    }
    if (decision.allowed) return
    open.blocked++
    const listeners = this.#refusalListeners
    if (listeners.length > 0) {
      const refused = countedSender(senderState, sender)
      for (let at = 0; at < listeners.length; at++) listeners[at]!(decision, message, refused, 1)
    }
    this.#recordRefused(message, senderState, series.counters, false)
  }

  #recordRefused(
    { sender, topic }: Message,
    senderState: SenderState,
    counters: RuleCounters,
    isShadow: boolean,
  ): void {
    // A late decision may be about a topic that the sender state no longer has.
    if (senderState.topic === topic && isPersistent(senderState))
      this.#refusals.recordRefusal(senderState, counters, isShadow)
    else this.#refusals.countByName(countedSender(senderState, sender), topic, counters, isShadow)
  }

  close(): void {
    this.#unsubscribe()
    this.#gate.off('policy', this.#onPolicy)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** Counts a sender among the clients of the open slice and marks its state; returns the index of its tier. */
  #countClient(senderState: SenderState, sender: Sender): number {
    // The identity equals the sender, unless the policy fills in fields.
    const identity = countedSender(senderState, sender)
    this.#history.open.unique.add(analyticsName(identity))
    const index = this.#counters.tierIndexOf(identity.tier ?? '')
    senderState.analyticsSlice = (this.#slice << INDEX_BITS) | index
    return index
  }

  #countPending(): void {
    this.#refusals.countAllPending()
    this.#counters.drainRefusals((rule, times) => this.#history.open.rules.add(rule, times))
  }

  /** Counts pending refusals, and closes the slice if it is over. */
  #closeDueSlice(): void {
    this.#countPending()
    const nowMs = this.#clock.now()
    if (nowMs < this.#sliceEndsMs) return
    this.#refusals.resetExactCounts()
    this.#closedTotals = this.totals()
    this.#history.closeDueSpans(nowMs)
    this.#sliceEndsMs = this.#history.open.endMs
    this.#slice = ++slices
  }
}

/** Returns the sender that a decision counts for, with the parts that the policy adds. */
export function countedSender(senderState: SenderState, sender: Sender): Sender {
  return isPersistent(senderState) ? senderState.identity : sender
}

/** Returns false for a state made per message, as when headers identify the sender. */
function isPersistent(senderState: SenderState): boolean {
  return senderState.routes?.canReuseStates ?? false
}
