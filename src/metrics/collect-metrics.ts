import type { Analytics } from '../analytics/analytics.ts'
import type { Gate } from '../gate/gate.ts'
import { collectDecisionMetrics, collectDurationMetrics } from './decision-metrics.ts'
import type { DecisionTimer } from './decision-timer.ts'
import { collectGateMetrics } from './gate-metrics.ts'
import { collectGuardMetrics, type ObservedGuard } from './guard-metrics.ts'
import type { MetricFamily } from './metric-family.ts'
import { collectStoreMetrics, type StoreHealthSource } from './store-metrics.ts'
import type { Webhook } from './webhook.ts'
import { collectWebhookMetrics } from './webhook-metrics.ts'

/** Sources of metrics; omitted sources are not exposed. */
export interface MetricSources {
  readonly analytics: Analytics
  readonly durations?: DecisionTimer | undefined
  readonly store?: StoreHealthSource | undefined
  /** Their numbers are summed. */
  readonly guards?: readonly ObservedGuard[] | undefined
  /** Source of the metrics of the policy, runtime entries and adaptive limits. */
  readonly gate?: Gate | undefined
  readonly webhook?: Webhook | undefined
  /** Functions that collect further metrics, such as those of a broker. */
  readonly others?: readonly (() => readonly MetricFamily[])[] | undefined
}

/**
 * Collects all metrics, for expositions other than {@link renderMetrics}. Never rejects; a failing store is reported
 * as down.
 */
export async function collectMetrics(sources: MetricSources): Promise<readonly MetricFamily[]> {
  return [
    ...collectDecisionMetrics(sources.analytics),
    ...collectDurationMetrics(sources.durations),
    ...(await collectStoreMetrics(sources.store)),
    ...collectGuardMetrics(sources.guards),
    ...collectGateMetrics(sources.gate),
    ...collectWebhookMetrics(sources.webhook),
    ...(sources.others ?? []).flatMap(collect => collect()),
  ]
}
