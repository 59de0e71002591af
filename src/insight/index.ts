export {
  type AlertRule,
  type AlertThresholds,
  defaultAlerts,
  type Readings as AlertReadings,
} from './alert-rules.ts'
export { type Alert, Alerts, type AlertsOptions } from './alerts.ts'
export { Analytics, type AnalyticsOptions } from './analytics.ts'
export { Durations, type DurationsOptions } from './durations.ts'
export { clusterSnapshot, SnapshotExporter, type SnapshotExporterOptions } from './exporter.ts'
export { collectMetrics, type Family as MetricFamily, type MetricSources } from './metrics.ts'
export { observeMetrics } from './open-telemetry.ts'
export { registerMetrics } from './prom-client.ts'
export { RedisSnapshots, type RedisSnapshotsOptions } from './redis-snapshots.ts'
export { METRICS_TYPE, renderMetrics } from './render-metrics.ts'
export type { RuleMetrics } from './rule-tally.ts'
export { MemorySnapshots, type SnapshotStore, type StoredSnapshot } from './snapshot-store.ts'
export { SqliteSnapshots, type SqliteSnapshotsOptions } from './sqlite-snapshots.ts'
export type {
  Range as AnalyticsRange,
  Snapshot as AnalyticsSnapshot,
  Span as AnalyticsSpan,
  TopList,
} from './view.ts'
export { Webhook, type WebhookOptions, type WebhookStats } from './webhook.ts'
