export {
  type Adaptive,
  type AdaptiveOptions,
  type AimdOptions,
  adaptive,
  aimd,
  BEHAVIOUR_FACTORS,
  type BehaviourLevel,
  type BehaviourLimiter,
  type BehaviourScalerOptions,
  behaviour,
  type CircuitBreaker,
  type CircuitState,
  circuitBreaker,
  consumerLag,
  type ErrorRate,
  errorRate,
  type FeedbackLimiter,
  type FeedbackLimiterOptions,
  type GradientOptions,
  gradient,
  type HandlerBreakerOptions,
  type LoadLevelFactors,
  type LoadReport,
  type LoadStageFactors,
  queueDepth,
  type Signal,
  type SignalName,
  type SignalWord,
} from './adaptive/index.ts'
export {
  type AuditChange,
  type AuditLog,
  type AuditPage,
  type AuditRecord,
  keepAuditLog,
} from './admin/audit-log.ts'
export { toAlgorithm } from './algorithms/algorithm-from-kernel.ts'
export { createLimit, type LimitSpec } from './algorithms/create-limit.ts'
export { defineAlgorithm } from './algorithms/custom.ts'
export type {
  Algorithm,
  CustomAlgorithm,
  CustomState,
  LimitNumbers,
  StepResult,
} from './algorithms/custom-algorithm-types.ts'
export { ALGORITHM_NAMES, type AlgorithmName } from './algorithms/limit-types.ts'
export { keyOfSender, SenderCache } from './broker-support/sender-cache.ts'
export type {
  ExemptionTrace,
  Explanation,
  HandlerTrace,
  LimitTrace,
  SizeTrace,
  SkippedRule,
  UnchangedTrace,
} from './chain/evaluation/explain.ts'
export type { Middleware, MiddlewareContext, Next } from './chain/middleware-types.ts'
export type { PenaltySpec } from './chain/rules/compile-penalty.ts'
export { limit, quota } from './chain/rules/create-limit-middleware.ts'
export { exempt } from './chain/rules/exemption.ts'
export type { HandlerResult } from './chain/rules/handler-feedback-types.ts'
export type { KeyInFlight } from './chain/rules/in-flight-slots.ts'
export type { LoadSource } from './chain/rules/load-source-registry.ts'
export type { ResourceKind } from './chain/rules/resource-limit.ts'
export type {
  Cost,
  ExceededSpec,
  ExemptOptions,
  InFlightOptions,
  LimitOptions,
  MessageSizeOptions,
  QuotaOptions,
  ResourceLimitOptions,
  Scope,
  UnchangedPayloadOptions,
} from './chain/rules/rule-options.ts'
export type { SenderMatchLists } from './chain/rules/sender-filter.ts'
export { DEFAULT_TIERS, type TierSpec, type TiersSpec } from './chain/rules/tiers.ts'
export type { LimitWarning } from './chain/rules/usage-warning.ts'
export type { BehaviourFactorsSpec } from './chain/senders/behaviour-tracker.ts'
export type { SenderSelector } from './chain/senders/sender-selector.ts'
export { createSender } from './chain/senders/sender-state.ts'
export type { ConditionSpec, ValueTest } from './conditions/condition.ts'
export { type Clock, systemClock } from './core/clock.ts'
export { type Decision, OUTCOMES, type Outcome, type Reason, type Scaled } from './core/decision.ts'
export { PolicyError, type Problem, StoreError, UnsupportedError } from './core/errors.ts'
export type { FieldPath } from './core/field-path.ts'
export type { Logger } from './core/logger.ts'
export { andThen } from './core/maybe-promise.ts'
export type { Dialect, GivenMessage, MaybePromise, Message, Operation, Sender } from './core/message.ts'
export type {
  BanOptions,
  OverrideOptions,
  RuntimeExemption,
  TierAssignmentOptions,
} from './gate/entry-types.ts'
export {
  Gate,
  type GateEvents,
  type GateOptions,
  type PolicyReloadResult,
  type PolicySource,
} from './gate/gate.ts'
export type { AdaptiveStats, AppliedPolicy, GateStats, HandlerStats, PolicyStats } from './gate/gate-stats.ts'
export type { HandlerSlot, NoHandlerSlot } from './gate/handler-monitor.ts'
export type { BrokerResource, ResourceCounts, ResourceHolder } from './gate/resource-counts.ts'
export type { GateRunOptions, HandlerRunResult } from './gate/run-message-handler.ts'
export type {
  RuntimeEntry,
  RuntimeEntryChange,
  RuntimeEntryKind,
  RuntimeEntryOptions,
} from './gate/runtime-entry.ts'
export type { TierLookupOptions } from './gate/tier-cache.ts'
export { Guard, type GuardOptions, type GuardStats, type SenderQueue } from './guard/guard.ts'
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
  DecisionTimer,
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
} from './metrics/index.ts'
export type { OutcomeFunction } from './outcomes/exceeded.ts'
export { natsRefusalHeaders } from './outcomes/nats-refusal.ts'
export { lowerCaseFields, rateLimitFields } from './outcomes/rate-limit-fields.ts'
export { refusalText } from './outcomes/refusal-text.ts'
export type { RefusalWords, RuleInfo } from './outcomes/rule-info.ts'
export type { RedisCommands, ShareableBackend } from './stores/backend-connection.ts'
export { type LeasedHealth, LeasedStore, type LeasedStoreOptions } from './stores/leased/leased-store.ts'
export { MemoryStore, type MemoryStoreOptions } from './stores/memory/memory-store.ts'
export type { StoreSpec } from './stores/normalize-store-options.ts'
export { type OpenStoreOptions, openStore } from './stores/open-store.ts'
export { ResilientStore, type ResilientStoreOptions } from './stores/resilient/resilient-store.ts'
export type {
  EphemeralEntries,
  SharedEntries,
  SharedEntriesWatch,
  SharedEntry,
} from './stores/shared-entries.ts'
export type {
  Charge,
  Fallback,
  StateSelector,
  Store,
  StoreHealth,
  TableFullWarning,
  Verdict,
} from './stores/store.ts'
export { matches, validPattern, validTopic } from './topic/pattern.ts'
