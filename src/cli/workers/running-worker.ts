import { MessageCapture } from '../../admin/state/message-capture.ts'
import { RecentRefusals } from '../../admin/state/recent-refusals.ts'
import { SenderRates } from '../../admin/state/sender-rates.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Gate } from '../../index.ts'
import type { DecisionCounters, RunningServer } from '../server/server-types.ts'
import type { CapturedPart, CaptureRequest, WorkerReport } from './worker-api.ts'
import { pickStats } from './worker-totals.ts'

/** A worker that serves clients, and what it counts for the primary. */
export class RunningWorker {
  readonly gate: Gate
  readonly server: RunningServer
  readonly rates: SenderRates
  readonly #analytics: DecisionCounters['analytics']
  readonly #durations: DecisionCounters['durations']
  /** Refusals since the last report. */
  #refusals = new RecentRefusals()
  #capture: { readonly id: string; readonly messages: MessageCapture } | undefined

  /** `keepsRefusals` is true if an admin server shows them. */
  constructor(gate: Gate, server: RunningServer, counts: DecisionCounters, keepsRefusals: boolean) {
    this.gate = gate
    this.server = server
    this.rates = new SenderRates(gate)
    this.#analytics = counts.analytics
    this.#durations = counts.durations
    if (!keepsRefusals) return
    this.#analytics.onRefusal((decision, message, sender, count) =>
      this.#refusals.record(decision, message, sender, gate.clock.now(), count),
    )
  }

  readCapture({ id, ...options }: CaptureRequest): CapturedPart {
    if (this.#capture?.id !== id) {
      this.endCapture()
      this.#capture = { id, messages: new MessageCapture(this.gate, options) }
    }
    const { messages } = this.#capture
    return { lines: messages.takeLines(), isEnded: messages.isEnded }
  }

  endCapture(): void {
    this.#capture?.messages.end()
    this.#capture = undefined
  }

  /** Returns the counts since the last report. */
  report(): WorkerReport {
    const { limits } = this.server
    const refusals = [...this.#refusals.histories()].slice(0, MAX_SIZES.reportedSenders)
    this.#refusals = new RecentRefusals()
    return {
      analytics: this.#analytics.drain(),
      durations: this.#durations.drain(),
      refusals,
      stats: pickStats(limits.stats()),
      families: this.server.collectMetrics(),
      isServing: this.server.isServing(),
    }
  }
}
