import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { type Clock, startAwaitedTimer } from '../core/clock.ts'
import { type Logger, SILENT } from '../core/logger.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { Analytics } from './analytics.ts'
import { type AnalyticsSnapshot, combineSummaries, type SnapshotRange } from './combine-summaries.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import { SPAN_LENGTHS, type SpanKind, SpanSummary } from './span-summary.ts'

export interface SnapshotExporterOptions {
  readonly analytics: Analytics
  readonly clock: Clock
  /** Store for the records of all nodes. Default: none. */
  readonly store?: SnapshotStore | undefined
  /** Logs a line per export, and a warning if the store fails. Default: silent. */
  readonly logger?: Logger | undefined
  /** Default: 300,000. */
  readonly everyMs?: number | undefined
  /** Unique name of this node. Default: host name and random suffix, so that a restarted node counts as another. */
  readonly node?: string | undefined
}

const OPTIONS: KnownOptions<SnapshotExporterOptions> = {
  analytics: true,
  clock: true,
  store: true,
  logger: true,
  everyMs: true,
  node: true,
}

/** Retention of a record after its span: hours for a day, days for a month. */
const RETENTION_MS: Readonly<Record<SpanKind, number>> = {
  slice: SPAN_LENGTHS.hour,
  hour: SPAN_LENGTHS.day,
  day: 30 * SPAN_LENGTHS.day,
}

/** Longest wait for the last export on close. */
const CLOSE_TIMEOUT_MS = 5_000

/**
 * Exports counts to the log and a store every five minutes until `close`. A failed export is repeated with the next.
 */
export class SnapshotExporter {
  readonly node: string
  readonly #options: SnapshotExporterOptions
  readonly #logger: Logger
  #exportedMs = 0
  #cancel: () => void
  #running: Promise<void> | undefined
  #closed = false

  constructor(options: SnapshotExporterOptions) {
    checkOptionNames(options, OPTIONS)
    this.#options = options
    this.#logger = options.logger ?? SILENT
    this.node = options.node ?? `${hostname().slice(0, 64)}-${randomBytes(4).toString('hex')}`
    this.#cancel = this.#schedule()
  }

  /** Exports now, or waits for the running export; never rejects. */
  export(): Promise<void> {
    this.#running ??= this.#export().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Exports once more, for at most five seconds, and stops. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#cancel()
    await new Promise<void>(resolve => {
      const cancel = startAwaitedTimer(this.#options.clock, CLOSE_TIMEOUT_MS, resolve)
      const last = Promise.resolve(this.#running).then(() => this.export())
      void last.then(cancel).then(resolve)
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #schedule(): () => void {
    const { clock, everyMs = SPAN_LENGTHS.slice } = this.#options
    return clock.after(everyMs, () => {
      void this.export()
      this.#cancel = this.#schedule()
    })
  }

  async #export(): Promise<void> {
    const { analytics, clock, store } = this.#options
    const { hourly: _, daily: __, ...summaryText } = analytics.snapshot('1h')
    this.#logger.info(summaryText, 'analytics of the last hour')
    if (store === undefined) return
    const nowMs = clock.now()
    try {
      for (const record of analytics.summaries(this.#exportedMs)) {
        const name = `${this.node}/${record.grain}/${record.startMs}`
        const keptUntilMs = record.startMs + SPAN_LENGTHS[record.grain] + RETENTION_MS[record.grain]
        await store.put(name, JSON.stringify(record), keptUntilMs - nowMs)
      }
      this.#exportedMs = nowMs
    } catch (err) {
      this.#logger.warn({ err }, 'analytics were not stored; they will be tried again')
    }
  }
}

/**
 * Returns one snapshot of all nodes that export to a store, as old as their last export. Skips invalid records.
 * Rejects with the store's error.
 */
export async function clusterSnapshot(
  store: SnapshotStore,
  range: SnapshotRange,
  clock: Clock,
): Promise<AnalyticsSnapshot> {
  const records = await store.list()
  return combineSummaries(
    records.flatMap(({ json }) => readRecord(json) ?? []),
    range,
    clock.now(),
  )
}

function readRecord(json: string): SpanSummary | undefined {
  try {
    return SpanSummary.fromRecord(JSON.parse(json))
  } catch {
    return undefined
  }
}
