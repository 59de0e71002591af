import { type Clock, callIfLate } from '../../src/core/clock.ts'
import type { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import { PINGREQ_PACKET } from './write-packets.ts'

/** A peer counts as silent after so many keepalives [MQTT-3.1.2-22]. */
const SILENT_AFTER = 1.5

export interface HeldKeepAliveOptions {
  readonly clock: Clock
  readonly toBroker: PacketPipe
  readonly toClient: PacketPipe
  /** 0 for none. */
  readonly keepAliveMs: number
  /** Called once. */
  readonly onSilentClient: () => void
  /** Called once. */
  readonly onSilentBroker: () => void
}

/**
 * Keeps the broker's connection alive while packets of the client wait unread or incomplete, and watches both sides meanwhile: the
 * PINGREQs of the client do not reach the broker, and the gateway answers them.
 */
export class HeldKeepAlive {
  readonly #options: HeldKeepAliveOptions
  /** PINGREQs of the gateway that the broker has not answered, and the time of the first of them. */
  #unanswered = 0
  #unansweredSinceMs = 0
  #cancel: (() => void) | undefined

  constructor(options: HeldKeepAliveOptions) {
    this.#options = options
    if (options.keepAliveMs > 0) this.#schedule()
  }

  /** Returns true if a PINGRESP answers a PINGREQ of the gateway. */
  handlePingresp(): boolean {
    if (this.#unanswered === 0) return false
    this.#unanswered--
    return true
  }

  close(): void {
    this.#cancel?.()
  }

  #schedule(): void {
    const { clock, keepAliveMs } = this.#options
    // After a busy event loop, packets that have arrived meanwhile are read first.
    this.#cancel = callIfLate(clock, keepAliveMs / 2, () => this.#check())
  }

  #check(): void {
    const { clock, toBroker, toClient, onSilentClient, onSilentBroker } = this.#options
    if (toBroker.isBlocked || toBroker.hasIncomplete) {
      if (this.#isSilent(toBroker, toBroker.receivedAtMs)) {
        onSilentClient()
        return
      }
      const askedAtMs = Math.max(toClient.receivedAtMs, this.#unansweredSinceMs)
      if (this.#unanswered > 0 && this.#isSilent(toClient, askedAtMs)) {
        onSilentBroker()
        return
      }
      if (this.#unanswered === 0) this.#unansweredSinceMs = clock.now()
      this.#unanswered++
      toBroker.insert(PINGREQ_PACKET)
    }
    this.#schedule()
  }

  /** Returns true if nothing has come for too long, although the socket is read. */
  #isSilent(from: PacketPipe, sinceMs: number): boolean {
    const { clock, keepAliveMs } = this.#options
    return !from.isInputPaused && clock.now() - sinceMs > keepAliveMs * SILENT_AFTER
  }
}
