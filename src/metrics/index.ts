export { Analytics, type AnalyticsOptions } from '../analytics/analytics.ts'
export type {
  AnalyticsSnapshot,
  PeriodTotals as AnalyticsSpan,
  SnapshotRange as AnalyticsRange,
  TopList,
} from '../analytics/combine-summaries.ts'
export { RedisSnapshots, type RedisSnapshotsOptions } from '../analytics/redis-snapshots.ts'
export type { RuleMetrics } from '../analytics/rule-counters.ts'
export {
  clusterSnapshot,
  SnapshotExporter,
  type SnapshotExporterOptions,
} from '../analytics/snapshot-exporter.ts'
export { MemorySnapshots, type SnapshotStore, type StoredSnapshot } from '../analytics/snapshot-store.ts'
export { SqliteSnapshots, type SqliteSnapshotsOptions } from '../analytics/sqlite-snapshots.ts'
export {
  type AlertReadings,
  type AlertRule,
  type AlertThresholds,
  defaultAlerts,
} from './alert-conditions.ts'
export { type Alert, Alerts, type AlertsOptions } from './alert-monitor.ts'
export { collectMetrics, type MetricSources } from './collect-metrics.ts'
export { DecisionTimer, type DurationsOptions } from './decision-timer.ts'
export type { MetricFamily } from './metric-family.ts'
export { observeMetrics } from './open-telemetry.ts'
export { registerMetrics } from './register-with-prom-client.ts'
export { METRICS_TYPE, renderMetrics } from './render-metrics.ts'
export { Webhook, type WebhookOptions, type WebhookStats } from './webhook.ts'
