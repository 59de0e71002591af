import { type Clock, clusterSnapshot, type Logger, type SnapshotStore } from '../index.ts'

const EVERY_MS = 300_000
/** So long after the nodes have left theirs, more or less. */
const LATER_MS = 10_000

/** Tells the log every five minutes what all nodes have left in a store, until it is closed. */
export class ClusterSummary {
  readonly #snapshots: SnapshotStore
  readonly #clock: Clock
  readonly #logger: Logger
  #cancel: () => void

  constructor(snapshots: SnapshotStore, clock: Clock, logger: Logger) {
    this.#snapshots = snapshots
    this.#clock = clock
    this.#logger = logger
    this.#cancel = this.#schedule(EVERY_MS + LATER_MS)
  }

  /** Tells it now; never rejects. */
  async tell(): Promise<void> {
    try {
      const { hourly: _, daily: __, ...told } = await clusterSnapshot(this.#snapshots, '1h', this.#clock)
      this.#logger.info(told, 'analytics of the last hour of all nodes')
    } catch (err) {
      this.#logger.warn({ err }, 'the analytics of other nodes could not be read')
    }
  }

  close(): void {
    this.#cancel()
  }

  #schedule(ms: number): () => void {
    return this.#clock.after(ms, () => {
      void this.tell()
      this.#cancel = this.#schedule(EVERY_MS)
    })
  }
}
