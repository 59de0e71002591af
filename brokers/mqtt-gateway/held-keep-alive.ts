import type { Clock } from '../../src/core/clock.ts'
import type { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import { PINGREQ_PACKET } from './write-packets.ts'

/** A client counts as silent after so many keepalives [MQTT-3.1.2-22]. */
const SILENT_AFTER = 1.5

/**
 * Keeps the broker's connection alive while packets of the client wait unread or incomplete, and watches the client meanwhile: its
 * PINGREQs do not reach the broker.
 */
export class HeldKeepAlive {
  readonly #clock: Clock
  readonly #toBroker: PacketPipe
  readonly #keepAliveMs: number
  readonly #onSilent: () => void
  /** PINGREQs of the gateway that the broker has not answered. */
  #unanswered = 0
  #cancel: (() => void) | undefined

  /** `keepAliveMs` is 0 for none. Calls `onSilent` once. */
  constructor(clock: Clock, toBroker: PacketPipe, keepAliveMs: number, onSilent: () => void) {
    this.#clock = clock
    this.#toBroker = toBroker
    this.#keepAliveMs = keepAliveMs
    this.#onSilent = onSilent
    if (keepAliveMs > 0) this.#schedule()
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
    this.#cancel = this.#clock.after(this.#keepAliveMs / 2, () => this.#check())
  }

  #check(): void {
    const toBroker = this.#toBroker
    if (toBroker.isBlocked || toBroker.hasIncomplete) {
      const silentMs = this.#clock.now() - toBroker.receivedAtMs
      if (!toBroker.isInputPaused && silentMs > this.#keepAliveMs * SILENT_AFTER) {
        this.#onSilent()
        return
      }
      this.#unanswered++
      toBroker.insert(PINGREQ_PACKET)
    }
    this.#schedule()
  }
}
