import type { Clock } from '../../src/core/clock.ts'
import { clientOptionsOf, type ReceivingClient } from './client-types.ts'

/** Checks per keep-alive interval. The client pings after one interval and gives up after one and a half. */
const CHECKS_PER_INTERVAL = 3

/**
 * Keeps a client connected whose handler is slow. Why: MQTT.js reads one packet after another, so the answer to its ping
 * waits behind all messages and it takes its own slowness for a dead broker (mqttjs/MQTT.js#1935). While messages are in
 * progress, this pings in its place and resets its deadline. An idle client is left alone, so that it detects a dead broker.
 */
export class KeepAlivePinger {
  readonly #client: ReceivingClient
  readonly #clock: Clock
  #cancel: (() => void) | undefined
  /** True if a message arrived since the last check. */
  #hasReceived = false
  /** True while the client waits for a message to be finished. */
  #isClientWaiting = false
  pings = 0

  constructor(client: ReceivingClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** Call it when the client waits for a message to be finished. Starts keeping the client alive. */
  onClientWaiting(): void {
    this.#isClientWaiting = true
    this.#hasReceived = true
    if (this.#cancel === undefined) this.#scheduleCheck()
  }

  /** Call it when the client reads the next message. */
  onClientContinued(): void {
    this.#isClientWaiting = false
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#isClientWaiting = false
  }

  #scheduleCheck(): void {
    const keepaliveS = this.#client.keepalive ?? clientOptionsOf(this.#client).keepalive ?? 0
    if (keepaliveS <= 0) return
    this.#cancel = this.#clock.after(Math.ceil((keepaliveS * 1_000) / CHECKS_PER_INTERVAL), () => {
      this.#cancel = undefined
      if (!this.#isClientWaiting && !this.#hasReceived) return
      this.#hasReceived = false
      // Offline, a ping would be queued and sent on the next connection.
      if (this.#client.connected) {
        this.pings++
        this.#client.sendPing()
        this.#client.reschedulePing(true)
      }
      this.#scheduleCheck()
    })
  }
}
