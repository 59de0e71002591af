import { open } from 'node:fs/promises'
import type { Logger } from 'pino'
import {
  Alerts,
  Analytics,
  Durations,
  type Gate,
  keepAuditLog,
  type MetricSources,
  renderMetrics,
  SnapshotExporter,
  Webhook,
} from '../index.ts'
import { openAnalyticsStore } from './analytics-store.ts'
import { ClusterSummary } from './cluster-summary.ts'
import { CommandError, EXIT } from './command-error.ts'

export interface MonitoringOptions {
  /** Where what was counted is left: a URL, `policy` or `none`. Default: the policy's store, where it is one that can keep it. */
  readonly analyticsStore?: string | undefined
  /** Where alerts are posted, besides the log. */
  readonly webhook?: { readonly url: string; readonly secret: string } | undefined
  /** The file that bans, overrides and the like are written to. */
  readonly auditLog?: string | undefined
}

/** What a broker tells of itself: to the log by itself, to Prometheus when it asks. */
export interface Monitoring {
  /** In the text format of Prometheus; with what the guard holds once there is one. */
  metrics(guard: NonNullable<MetricSources['guards']>[number] | undefined): Promise<string>
  /** Tells the log and the store once more, and ends. */
  close(): Promise<void>
}

/**
 * Counts and times what a gate decides; the log and a store get a summary every five minutes, the log and a webhook
 * alerts as they come and go, a file what is said of senders. Throws CommandFailure for options that cannot be used.
 */
export async function observe(
  gate: Gate,
  logger: Logger,
  options: MonitoringOptions = {},
): Promise<Monitoring> {
  const { clock, store } = gate
  const { webhook: post, auditLog } = options
  if (auditLog !== undefined) await checkAppendable(auditLog)
  const webhook = post && new Webhook({ ...post, clock, logger })
  const kept = await openAnalyticsStore(options.analyticsStore, gate, logger)
  const { snapshots } = kept
  const audit = auditLog === undefined ? undefined : keepAuditLog(gate, auditLog)
  const analytics = new Analytics({ gate })
  const durations = new Durations({ gate })
  const exporter = new SnapshotExporter({
    ...{ analytics, clock, logger },
    ...(snapshots === undefined ? {} : { store: snapshots }),
  })
  const fleet = snapshots && new ClusterSummary(snapshots, clock, logger)
  let isClosed = false
  // The log is told by the alerts themselves.
  const onAlert = webhook?.send ?? (() => {})
  const alerts = new Alerts({ gate, analytics, durations, logger, onAlert })
  return {
    metrics: guard =>
      renderMetrics({ analytics, durations, store, ...(guard === undefined ? {} : { guards: [guard] }) }),
    async close() {
      if (isClosed) return
      isClosed = true
      alerts.close()
      fleet?.close()
      webhook?.close()
      await exporter.close()
      await fleet?.tell()
      durations.close()
      analytics.close()
      await audit?.close()
      await kept.close()
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
