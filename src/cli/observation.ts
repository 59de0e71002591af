import type { Logger } from 'pino'
import {
  Alerts,
  Analytics,
  Durations,
  type Gate,
  type MetricSources,
  renderMetrics,
  SnapshotExporter,
} from '../index.ts'

/** What a broker tells of itself: to the log by itself, to Prometheus when it asks. */
export interface Observation {
  /** In the text format of Prometheus; with what the guard holds once there is one. */
  metrics(guard: NonNullable<MetricSources['guards']>[number] | undefined): Promise<string>
  /** Tells the log once more, and ends. */
  close(): Promise<void>
}

/** Counts and times what a gate decides; the log gets a summary every five minutes, and alerts as they come and go. */
export function observe(gate: Gate, logger: Logger): Observation {
  const { clock, store } = gate
  const analytics = new Analytics({ gate })
  const durations = new Durations({ gate })
  const exporter = new SnapshotExporter({ analytics, clock, logger })
  // The log is where these alerts go.
  const alerts = new Alerts({ gate, analytics, durations, logger, onAlert: () => {} })
  return {
    metrics: guard =>
      renderMetrics({ analytics, durations, store, ...(guard === undefined ? {} : { guards: [guard] }) }),
    async close() {
      alerts.close()
      await exporter.close()
      durations.close()
      analytics.close()
    },
  }
}
