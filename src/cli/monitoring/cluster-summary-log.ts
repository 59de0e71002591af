import { type Clock, clusterSnapshot, type Logger, type SnapshotStore } from '../../index.ts'

const EVERY_MS = 300_000
/** Delay after the nodes' own snapshots, so that most are complete. */
const DELAY_MS = 10_000

/** Logs a summary of all nodes' snapshots in a store every five minutes until it is closed. */
export class ClusterSummaryLogger {
  readonly #snapshots: SnapshotStore
  readonly #clock: Clock
  readonly #logger: Logger
  #cancel: () => void

  constructor(snapshots: SnapshotStore, clock: Clock, logger: Logger) {
    this.#snapshots = snapshots
    this.#clock = clock
    this.#logger = logger
    this.#cancel = this.#schedule(EVERY_MS + DELAY_MS)
  }

  /** Logs the summary now; never rejects. */
  async logSummary(): Promise<void> {
    try {
      const { hourly: _, daily: __, ...summary } = await clusterSnapshot(this.#snapshots, '1h', this.#clock)
      this.#logger.info(summary, 'analytics of the last hour of all nodes')
    } catch (err) {
      this.#logger.warn({ err }, 'the analytics of other nodes could not be read')
    }
  }

  close(): void {
    this.#cancel()
  }

  #schedule(ms: number): () => void {
    return this.#clock.after(ms, () => {
      void this.logSummary()
      this.#cancel = this.#schedule(EVERY_MS)
    })
  }
}
