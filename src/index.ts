export {
  type Adaptive,
  type AdaptiveOptions,
  type AimdOptions,
  adaptive,
  aimd,
  BEHAVIOUR_FACTORS,
  type Behaviour,
  type BehaviourLevel,
  type BehaviourOptions,
  type BreakerOptions,
  behaviour,
  type CircuitBreaker,
  type CircuitState,
  circuitBreaker,
  consumerLag,
  type ErrorRate,
  errorRate,
  type Feedback,
  type FeedbackOptions,
  type GradientOptions,
  gradient,
  type LevelWords,
  type LoadReport,
  queueDepth,
  type Signal,
  type SignalName,
  type SignalWord,
  type StageWords,
} from './adapt/index.ts'
export { type AuditLog, keepAuditLog } from './admin/audit-log.ts'
export type { Algorithm, Step } from './algorithms/algorithm.ts'
export { createLimit, type LimitSpec } from './algorithms/create-limit.ts'
export {
  type CustomAlgorithm,
  type CustomState,
  defineAlgorithm,
  type LimitNumbers,
} from './algorithms/custom.ts'
export { toAlgorithm } from './algorithms/kernel.ts'
export { ALGORITHMS, type AlgorithmName } from './algorithms/limit.ts'
export type { BehaviourSpec } from './chain/conduct.ts'
export { exempt } from './chain/exempt.ts'
export type { Handled } from './chain/handler.ts'
export type { HeldKind } from './chain/held-limit.ts'
export type { KeyInFlight } from './chain/in-flight.ts'
export type {
  ExemptionTrace,
  Explanation,
  HandlerTrace,
  LimitTrace,
  SizeTrace,
  SkippedRule,
} from './chain/inspect.ts'
export { KnownSenders } from './chain/known-senders.ts'
export { limit, quota } from './chain/limit.ts'
export type { LoadSource } from './chain/measures.ts'
export type { Middleware, MiddlewareContext, Next } from './chain/middleware.ts'
export type {
  Cost,
  Exceeded,
  ExemptOptions,
  HeldOptions,
  InFlightOptions,
  LimitOptions,
  QuotaOptions,
  Scope,
  SizeOptions,
} from './chain/options.ts'
export type { PenaltySpec } from './chain/penalty.ts'
export { createSender } from './chain/seat.ts'
export type { SenderLists } from './chain/sender-lists.ts'
export type { Subject } from './chain/subject.ts'
export { DEFAULT_TIERS, type TierSpec, type TiersSpec } from './chain/tiers.ts'
export type { LimitWarning } from './chain/warn.ts'
export { type Clock, systemClock } from './clock.ts'
export type { ConditionSpec, ValueTest } from './conditions/condition.ts'
export { type Decision, OUTCOMES, type Outcome, type Reason, type Scaled } from './decision.ts'
export { PolicyError, type Problem, StoreError, UnsupportedError } from './errors.ts'
export type { BanOptions, OverrideOptions, RunTimeExemption, TierOptions } from './gate/crafts.ts'
export type { HandlerSlot, HandlersBusy } from './gate/handling.ts'
export type { HeldCounts, HeldItem, HeldSource } from './gate/held-counts.ts'
export type { Change, EntryKind, RuntimeEntry, RuntimeEntryOptions } from './gate/note.ts'
export type { RunOptions, RunResult } from './gate/run.ts'
export type { TierLookup } from './gate/tier-lookup.ts'
export { Gate, type GateEvents, type GateOptions, type PolicyChange, type PolicySource } from './gate.ts'
export { Guard, type GuardOptions, type GuardStats, type SenderQueue } from './guard.ts'
export {
  type Alert,
  type AlertReadings,
  type AlertRule,
  Alerts,
  type AlertsOptions,
  type AlertThresholds,
  Analytics,
  type AnalyticsOptions,
  type AnalyticsRange,
  type AnalyticsSnapshot,
  type AnalyticsSpan,
  clusterSnapshot,
  collectMetrics,
  Durations,
  type DurationsOptions,
  defaultAlerts,
  METRICS_TYPE,
  MemorySnapshots,
  type MetricFamily,
  type MetricSources,
  observeMetrics,
  RedisSnapshots,
  type RedisSnapshotsOptions,
  type RuleMetrics,
  registerMetrics,
  renderMetrics,
  SnapshotExporter,
  type SnapshotExporterOptions,
  type SnapshotStore,
  SqliteSnapshots,
  type SqliteSnapshotsOptions,
  type StoredSnapshot,
  type TopList,
  Webhook,
  type WebhookOptions,
  type WebhookStats,
} from './insight/index.ts'
export type { Logger } from './logger.ts'
export { andThen } from './maybe-promise.ts'
export type { Action, Dialect, GivenMessage, MaybePromise, Message, Sender } from './message.ts'
export type { CustomOutcome } from './outcomes/exceeded.ts'
export { lowerCaseFields, natsRefusalHeaders, rateLimitFields } from './outcomes/rate-limit-fields.ts'
export { type RefusalWords, refusalText } from './outcomes/refusal-text.ts'
export type { RuleInfo } from './outcomes/rule-facts.ts'
export { type LeasedHealth, LeasedStore, type LeasedStoreOptions } from './stores/leased.ts'
export type { Backend, RedisCommands } from './stores/medium.ts'
export { MemoryStore, type MemoryStoreOptions } from './stores/memory.ts'
export type { EphemeralEntries, SharedEntries, SharedEntriesWatch, SharedEntry } from './stores/notes.ts'
export { type OpenStoreOptions, openStore, type StoreSpec } from './stores/open-store.ts'
export { ResilientStore, type ResilientStoreOptions } from './stores/resilient.ts'
export type { Charge, Fallback, Selector, Store, StoreHealth, StoreWarning, Verdict } from './stores/store.ts'
export { matches, validPattern, validTopic } from './topic/pattern.ts'
