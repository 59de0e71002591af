interface WaitingAck {
  /** Number of the last message that was forwarded before this acknowledgement. */
  readonly after: number
  readonly send: () => void
}

/** Number of waiting acknowledgements at which the gateway stops reading the client. */
const MAX_WAITING = 1_000

/**
 * Sends the gateway's own PUBACKs and PUBRECs in the order of the messages [MQTT-4.6.0-2, MQTT-4.6.0-3]: each waits for the
 * broker's acknowledgements of the messages forwarded before. Why: mosquitto_pub disconnects after the acknowledgement
 * of its last message, and so loses earlier ones of QoS 2.
 */
export class OrderedAcks {
  /** Numbers of forwarded messages that the broker has not acknowledged with a PUBACK or PUBREC, by id, ascending. */
  readonly #unacknowledged = new Map<number, number>()
  readonly #onFull: (isFull: boolean) => void
  #lastNumber = 0
  #waiting: WaitingAck[] = []
  #isScheduled = false

  /** Calls `onFull` when too many acknowledgements wait, and when there is room again. */
  constructor(onFull: (isFull: boolean) => void) {
    this.#onFull = onFull
  }

  /** Call for each message of QoS 1 or 2 that goes to the broker. */
  expectAck(id: number): void {
    // A resent message moves to the end.
    this.#unacknowledged.delete(id)
    this.#unacknowledged.set(id, ++this.#lastNumber)
  }

  /** Call before a PUBACK or PUBREC of the broker goes to the client. Acknowledgements that wait for it follow in the same turn. */
  onAck(id: number): void {
    if (!this.#unacknowledged.delete(id) || this.#waiting.length === 0 || this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#sendReady()
    })
  }

  /** Sends an acknowledgement now, or after those of the messages forwarded before. */
  send(send: () => void): void {
    if (this.#unacknowledged.size === 0 && this.#waiting.length === 0) {
      send()
      return
    }
    this.#waiting.push({ after: this.#lastNumber, send })
    if (this.#waiting.length === MAX_WAITING) this.#onFull(true)
  }

  /** Discards the forwarded messages and the waiting acknowledgements. */
  clear(): void {
    const wasFull = this.#waiting.length >= MAX_WAITING
    this.#unacknowledged.clear()
    this.#waiting = []
    if (wasFull) this.#onFull(false)
  }

  #sendReady(): void {
    const [oldest = Number.POSITIVE_INFINITY] = this.#unacknowledged.values()
    let count = 0
    for (const { after, send } of this.#waiting) {
      if (after >= oldest) break
      count++
      send()
    }
    const wasFull = this.#waiting.length >= MAX_WAITING
    this.#waiting.splice(0, count)
    if (wasFull && this.#waiting.length < MAX_WAITING) this.#onFull(false)
  }
}
