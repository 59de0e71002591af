import { hostname } from 'node:os'
import type { Analytics, RefusalListener } from '../../analytics/analytics.ts'
import type { SnapshotStore } from '../../analytics/snapshot-store.ts'
import type { Scaled } from '../../core/decision.ts'
import type { Dialect, MaybePromise, Sender } from '../../core/message.ts'
import type { Gate, GateEvents } from '../../gate/gate.ts'
import type { EntryConfirmation, NodeMembership } from '../../gate/node-membership.ts'
import type { RuntimeEntryKind } from '../../gate/runtime-entry.ts'
import type { Alert, Alerts } from '../../metrics/alert-monitor.ts'
import { type DecisionTimer, type DurationCounts, quantileOf } from '../../metrics/decision-timer.ts'
import type { StoreHealth } from '../../stores/store.ts'
import type { AdminPolicyFiles } from '../admin-policy-files.ts'
import type { AuditLog } from '../audit-log.ts'
import { toRefusalJson } from '../describe-refusal.ts'
import { PolicyOverlay } from '../policy-overlay.ts'
import type { ServerCheck } from '../schemas/overview.ts'
import type { Suggestion } from '../schemas/suggest.ts'
import { senderId } from '../sender-id.ts'
import { DecisionSeries } from './decision-series.ts'
import { EventStream } from './event-stream.ts'
import { IdempotentAnswers } from './idempotent-answers.ts'
import type { CaptureOptions, RunningCapture } from './message-capture.ts'
import { RecentRefusals, type RefusalEvent } from './recent-refusals.ts'
import { RefusalFeed } from './refusal-feed.ts'
import { type SenderRateReport, SenderRates } from './sender-rates.ts'

/** Broker or gateway behind the gate. The limiter of `topicgate/aedes` fits. */
export interface AdminBroker {
  stats(): { readonly connections?: number | undefined; readonly held: number }
  /** Returns the sender of a connected client; undefined if it is not connected. */
  senderOf?(clientId: string): MaybePromise<Sender | undefined>
  /** Captures messages that are decided in other processes. */
  capture?(options: CaptureOptions): RunningCapture
  /** Measures the rates of senders, if they are decided in other processes. */
  measureSenders?(): Promise<SenderRateReport>
}

/** Runs the checks of the program around the gate. `sendsTests` allows those that send something, as to a webhook. */
export type FurtherChecks = (options: { readonly sendsTests: boolean }) => Promise<readonly ServerCheck[]>

export interface SuggestionOptions {
  /** Pattern of the one rule to suggest. Default: rules for all topics. */
  readonly topic?: string | undefined
  /** Identity or capture that rules count by. Default: the first identity that almost all senders have. */
  readonly per?: string | undefined
  /** Percent of ordinary senders that limits cover, 50 to 100. */
  readonly quantile: number
  readonly dialect: Dialect
  /** Name of the node, for the comments of the policy. */
  readonly node: string
}

/**
 * Suggests limits from the lines of a capture, in texts of whole lines. Rejects with AdminProblem if they are too few, or if
 * they do not have what `per` names.
 */
export type LimitSuggester = (
  lines: AsyncIterable<string>,
  options: SuggestionOptions,
  signal: AbortSignal,
) => Promise<Suggestion>

export interface AdminStateOptions {
  readonly gate: Gate
  readonly analytics: Analytics
  readonly alerts: Alerts
  readonly audit: AuditLog
  readonly durations?: DecisionTimer | undefined
  readonly broker?: AdminBroker | undefined
  readonly policy?: AdminPolicyFiles | undefined
  /** Analytics of all nodes. */
  readonly snapshots?: SnapshotStore | undefined
  readonly node?: string | undefined
  readonly listeners?: readonly string[] | undefined
  readonly checks?: FurtherChecks | undefined
  readonly suggestLimits?: LimitSuggester | undefined
}

const SECOND_MS = 1_000
/** Seconds over which the tick measures the duration of decisions. */
const DURATION_SECONDS = 10
const RESOLVED_KEPT = 100

/** What the admin server observes of a gate while it runs. */
export class AdminState {
  readonly gate: Gate
  readonly analytics: Analytics
  readonly alerts: Alerts
  readonly audit: AuditLog
  readonly broker: AdminBroker | undefined
  readonly policy: AdminPolicyFiles | undefined
  /** The overlay of the policy; undefined without policy files. */
  readonly overlay: PolicyOverlay | undefined
  readonly snapshots: SnapshotStore | undefined
  readonly node: string
  readonly listeners: readonly string[]
  /** Runs the checks of the program around the gate. */
  readonly furtherChecks: FurtherChecks
  readonly suggestLimits: LimitSuggester | undefined
  readonly startedAtMs: number
  readonly events: EventStream
  readonly series: DecisionSeries
  readonly refusals: RecentRefusals
  /** Refusals as they come. */
  readonly refusalFeed = new RefusalFeed()
  readonly senderRates: SenderRates
  readonly answers: IdempotentAnswers
  /** Capture that is running. */
  capture: RunningCapture | undefined
  /** Limits are being suggested. */
  isSuggesting = false
  /** Resolved alerts, the newest first. */
  readonly resolvedAlerts: Alert[] = []
  scaled: Scaled | undefined
  readonly #durations: DecisionTimer | undefined
  readonly #durationReadings: DurationCounts[] = []
  readonly #membership: NodeMembership | undefined
  #cancelTick: () => void
  readonly #closers: readonly (() => void)[]

  constructor(options: AdminStateOptions) {
    const { gate, analytics, alerts, audit } = options
    this.gate = gate
    this.analytics = analytics
    this.alerts = alerts
    this.audit = audit
    this.broker = options.broker
    this.policy = options.policy
    this.overlay = options.policy && new PolicyOverlay(options.policy)
    this.snapshots = options.snapshots
    this.#durations = options.durations
    this.node = options.node ?? `${hostname().slice(0, 64)}:${process.pid}`
    this.listeners = options.listeners ?? []
    this.furtherChecks = options.checks ?? (async () => [])
    this.suggestLimits = options.suggestLimits
    this.#membership = gate.joinNodes(this.node)
    this.startedAtMs = gate.clock.now()
    this.events = new EventStream(gate.clock)
    this.senderRates = new SenderRates(gate)
    this.answers = new IdempotentAnswers(gate.clock)
    this.series = new DecisionSeries(analytics)
    this.refusals = new RecentRefusals(event => this.#publishRefusal(event))
    const recordRefusal: RefusalListener = (decision, message, sender, count) =>
      this.refusals.record(decision, message, sender, gate.clock.now(), count)
    this.#closers = [
      this.refusalFeed.subscribe({}, refusal => this.events.publish('refusal', refusal)),
      analytics.onRefusal(recordRefusal),
      alerts.watch(alert => this.#onAlert(alert)),
      audit.watch(record => this.events.publish('audit', record)),
      this.#listen('policy', change => this.#onPolicy(change)),
      this.#listen('store', event => this.events.publish('store', event)),
      this.#listen('scaled', scaled => {
        this.scaled = scaled
      }),
    ]
    this.#cancelTick = this.#scheduleTick()
  }

  /** Measures the busiest senders for a second. */
  measureSenders(): Promise<SenderRateReport> {
    return this.broker?.measureSenders?.() ?? this.senderRates.measure()
  }

  /** Returns the 95th percentile of the duration of decisions in the last seconds; undefined without decisions. */
  p95Ms(): number | undefined {
    const now = this.#durations?.counts()
    const seconds = now && quantileOf(0.95, this.#durationReadings[0], now)
    return seconds === undefined || seconds === Infinity ? undefined : 1_000 * seconds
  }

  /** Returns the nodes that have applied the last change of an entry. Waits for the others of the store, at most a second. */
  async confirmEntry(kind: RuntimeEntryKind, id: string): Promise<EntryConfirmation> {
    return this.#membership?.confirm(kind, id) ?? { confirmed: [this.node], pending: [] }
  }

  /** Returns the health of the store; that of a failure if it does not answer. */
  async readStoreHealth(): Promise<StoreHealth> {
    try {
      return await this.gate.store.health()
    } catch (cause) {
      return { ok: false, detail: cause instanceof Error ? cause.message : String(cause) }
    }
  }

  /** Returns the names of the nodes of the store, this one first; this one only if the store does not answer. */
  async nodes(): Promise<readonly string[]> {
    return this.#membership?.nodes().catch(() => [this.node]) ?? [this.node]
  }

  /** Stops observing and ends all event streams. */
  close(): void {
    this.#cancelTick()
    this.#membership?.close()
    for (const close of this.#closers) close()
    this.events.close()
    this.capture?.end()
  }

  #listen<Name extends keyof GateEvents>(
    event: Name,
    listener: (...args: GateEvents[Name]) => void,
  ): () => void {
    this.gate.on(event, listener)
    return () => void this.gate.off(event, listener)
  }

  #scheduleTick(): () => void {
    return this.gate.clock.after(SECOND_MS, () => {
      this.#tick()
      this.#cancelTick = this.#scheduleTick()
    })
  }

  #tick(): void {
    this.refusalFeed.startSecond()
    const point = this.series.sample(this.gate.clock.now())
    const { connections, held } = this.broker?.stats() ?? {}
    const p95Ms = this.p95Ms()
    this.events.publish('tick', { ...point, connections, held, loadFactor: this.scaled?.factor ?? 1, p95Ms })
    if (this.#durations === undefined) return
    this.#durationReadings.push(this.#durations.counts())
    if (this.#durationReadings.length > DURATION_SECONDS) this.#durationReadings.shift()
  }

  #publishRefusal({ sender, refusal, count }: RefusalEvent): void {
    const unit = this.gate.ruleOf(refusal.rule)?.unit
    this.refusalFeed.publish({ sender: senderId(sender), ...toRefusalJson(refusal, unit, count) })
  }

  #onAlert(alert: Alert): void {
    this.events.publish('alert', alert)
    if (alert.state === 'firing') return
    this.resolvedAlerts.unshift(alert)
    if (this.resolvedAlerts.length > RESOLVED_KEPT) this.resolvedAlerts.pop()
  }

  #onPolicy(change: GateEvents['policy'][0]): void {
    const atMs = this.gate.clock.now()
    const error = change.kind === 'refused' ? change.error.message : undefined
    this.events.publish('policy', { atMs, kind: change.kind, error })
  }
}
