import { open } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { FurtherChecks } from '../../admin/index.ts'
import {
  Alerts,
  Analytics,
  type AuditLog,
  DecisionTimer,
  type Gate,
  keepAuditLog,
  type MetricFamily,
  type MetricSources,
  renderMetrics,
  SnapshotExporter,
  type SnapshotStore,
  Webhook,
} from '../../index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { ClusterSummaryLogger } from './cluster-summary-log.ts'
import { openAnalyticsStore } from './open-analytics-store.ts'
import { checkWebhook } from './server-checks.ts'

export interface MonitoringOptions {
  /** Store of analytics: a URL, `policy` or `none`. Default: the store of the policy, if it can hold them. */
  readonly analyticsStore?: string | undefined
  /** Receives alerts, in addition to the log. */
  readonly webhook?: { readonly url: string; readonly secret: string } | undefined
  /** File to which bans, overrides and other changes are appended. */
  readonly auditLog?: string | undefined
}

/** A server with metrics of its own. */
interface ObservedServer {
  readonly limits: NonNullable<MetricSources['guards']>[number]
  collectMetrics(): readonly MetricFamily[]
}

/** Monitoring of a broker: periodic log lines, alerts and metrics for Prometheus. */
export interface Monitoring {
  readonly analytics: Analytics
  readonly durations: DecisionTimer
  readonly alerts: Alerts
  /** The audit log, in memory only if no file is given. */
  readonly audit: AuditLog
  /** Name under which this node exports its analytics. */
  readonly node: string
  /** Store of the analytics of all nodes, if there is one. */
  readonly snapshots: SnapshotStore | undefined
  /** Returns metrics in the text format of Prometheus, including those of the server if it runs. */
  metrics(server: ObservedServer | undefined): Promise<string>
  /** Sends a test to the webhook, if there is one. */
  runChecks: FurtherChecks
  /** Writes the last summary and snapshot, and stops. */
  close(): Promise<void>
}

/**
 * Counts and times the decisions of a gate. Writes a summary to the log and a store every five minutes, alerts to the
 * log and a webhook, and runtime changes to a file. Throws CommandError for invalid options.
 */
export async function startMonitoring(
  gate: Gate,
  logger: Logger,
  options: MonitoringOptions = {},
): Promise<Monitoring> {
  const { clock, store } = gate
  const { webhook: post, auditLog } = options
  if (auditLog !== undefined) await checkAppendable(auditLog)
  const webhook = post && new Webhook({ ...post, clock, logger })
  const analyticsStore = await openAnalyticsStore(options.analyticsStore, gate, logger)
  const { snapshots } = analyticsStore
  const audit = keepAuditLog(gate, auditLog)
  const analytics = new Analytics({ gate })
  const durations = new DecisionTimer({ gate })
  const exporter = new SnapshotExporter({
    analytics,
    clock,
    logger,
    store: snapshots,
  })
  const clusterSummary = snapshots && new ClusterSummaryLogger(snapshots, clock, logger)
  let isClosed = false
  // Alerts write to the log by themselves.
  const onAlert = webhook?.send ?? (() => {})
  const alerts = new Alerts({ gate, analytics, durations, logger, onAlert })
  return {
    analytics,
    durations,
    alerts,
    audit,
    node: exporter.node,
    snapshots,
    metrics: server =>
      renderMetrics({
        analytics,
        durations,
        store,
        guards: server && [server.limits],
        gate,
        webhook,
        others: server && [server.collectMetrics],
      }),
    runChecks: async ({ sendsTests }) =>
      webhook === undefined || !sendsTests ? [] : [await checkWebhook(webhook)],
    async close() {
      if (isClosed) return
      isClosed = true
      alerts.close()
      clusterSummary?.close()
      webhook?.close()
      await exporter.close()
      await clusterSummary?.logSummary()
      durations.close()
      analytics.close()
      await audit.close()
      await analyticsStore.close()
    },
  }
}

async function checkAppendable(path: string): Promise<void> {
  try {
    const file = await open(path, 'a', 0o600)
    await file.close()
  } catch (cause) {
    const { code = 'it cannot be opened' } = cause as NodeJS.ErrnoException
    const remedy = 'choose another with --audit-log, in a folder that is there and may be written to'
    throw new CommandError(`cannot write to ${path}: ${code} (${remedy})`, EXIT.usage, { cause })
  }
}
