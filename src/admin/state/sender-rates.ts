import { countedSender } from '../../analytics/analytics.ts'
import { HeavyHitters, type NameCount } from '../../analytics/heavy-hitters.ts'
import { shortenName } from '../../analytics/shorten-name.ts'
import type { SenderState } from '../../chain/senders/sender-state.ts'
import type { Decision } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message } from '../../core/message.ts'
import type { Gate } from '../../gate/gate.ts'
import { senderId } from '../sender-id.ts'

const MEASURED_MS = 1_000

/** Decisions of the busiest senders in a measured time. */
export interface SenderRateReport {
  readonly measuredMs: number
  /** Counts are exact, or too high by at most this. */
  readonly error: number
  /** Ids of senders, the busiest first. */
  readonly senders: readonly NameCount[]
}

/** Counts the decisions of each sender for a second when asked, because counting all of them always would cost time. */
export class SenderRates {
  readonly #gate: Gate
  #measuring: Promise<SenderRateReport> | undefined

  constructor(gate: Gate) {
    this.#gate = gate
  }

  /** Measures for a second. Requests at the same time share a measurement. */
  measure(): Promise<SenderRateReport> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined
    })
    return this.#measuring
  }

  async #measure(): Promise<SenderRateReport> {
    const { clock } = this.#gate
    const counts = new HeavyHitters(MAX_SIZES.analyticsNames)
    const count = (_decision: Decision, { sender }: Message, senderState: SenderState): void =>
      counts.add(shortenName(senderId(countedSender(senderState, sender))), 1)
    const beganMs = clock.now()
    const stop = this.#gate.countBy({ count })
    await new Promise<void>(resolve => void clock.after(MEASURED_MS, resolve))
    stop()
    const senders = counts.top(MAX_SIZES.adminListedSenders)
    return { measuredMs: clock.now() - beganMs, error: counts.error, senders }
  }
}
