import type { Clock } from '../../src/core/clock.ts'
import { optionsOf, type ReceivingClient } from './client.ts'

/** Beats in a keepalive: the client pings after one and gives up after one and a half. */
const BEATS = 3

/**
 * Keeps a client connected whose handler holds what it has received. MQTT.js reads one packet after another, so that
 * the answer to its ping waits behind them all, and takes its own slowness for a dead broker (mqttjs/MQTT.js#1935).
 * While messages are under way this pings for it and sets its deadline back; a client with nothing to do is left alone, so that it
 * still notices a dead broker.
 */
export class KeepAlive {
  readonly #client: ReceivingClient
  readonly #clock: Clock
  #cancel: (() => void) | undefined
  /** Something was received since the last beat. */
  #stirred = false
  /** The client waits for us. */
  #holds = false
  pings = 0

  constructor(client: ReceivingClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** A message has arrived, and the client waits. */
  hold(): void {
    this.#holds = true
    this.#stirred = true
    if (this.#cancel === undefined) this.#wait()
  }

  /** The client goes on. */
  rest(): void {
    this.#holds = false
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#holds = false
  }

  #wait(): void {
    const keepaliveS = this.#client.keepalive ?? optionsOf(this.#client).keepalive ?? 0
    if (keepaliveS <= 0) return
    this.#cancel = this.#clock.after(Math.ceil((keepaliveS * 1_000) / BEATS), () => {
      this.#cancel = undefined
      if (!this.#holds && !this.#stirred) return
      this.#stirred = false
      // Offline, a ping would be queued and sent to the next connection.
      if (this.#client.connected) {
        this.pings++
        this.#client.sendPing()
        this.#client.reschedulePing(true)
      }
      this.#wait()
    })
  }
}
