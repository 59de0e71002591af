interface WaitingAnswer {
  /** Number of the last message that was forwarded before it. */
  readonly after: number
  readonly send: () => void
}

/** Answers that may wait; beyond them no more is read of the client. */
const MAX_WAITING = 1_000

/**
 * Sends the gateway's own PUBACKs and PUBRECs in the order of the messages [MQTT-4.6.0-2, MQTT-4.6.0-3]: each waits for the
 * broker's acknowledgements of the messages forwarded before. Why: mosquitto_pub disconnects after the acknowledgement
 * of its last message, and so loses earlier ones of QoS 2.
 */
export class OrderedAnswers {
  /** Numbers of forwarded messages without a PUBACK or PUBREC, by id, in their order. */
  readonly #unanswered = new Map<number, number>()
  readonly #onFull: (isFull: boolean) => void
  #lastNumber = 0
  #waiting: WaitingAnswer[] = []
  #isScheduled = false

  /** `onFull` is called when too many answers wait, and when they are sent. */
  constructor(onFull: (isFull: boolean) => void) {
    this.#onFull = onFull
  }

  /** Call for each message of QoS 1 or 2 that goes to the broker. */
  expectAck(id: number): void {
    // A resent message moves to the end.
    this.#unanswered.delete(id)
    this.#unanswered.set(id, ++this.#lastNumber)
  }

  /** Call before a PUBACK or PUBREC of the broker goes to the client. Answers behind it follow in the same turn. */
  onAck(id: number): void {
    if (!this.#unanswered.delete(id) || this.#waiting.length === 0 || this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#sendReady()
    })
  }

  /** Sends an answer now, or in its turn. */
  send(send: () => void): void {
    if (this.#unanswered.size === 0 && this.#waiting.length === 0) {
      send()
      return
    }
    this.#waiting.push({ after: this.#lastNumber, send })
    if (this.#waiting.length === MAX_WAITING) this.#onFull(true)
  }

  /** Forgets messages and answers. */
  clear(): void {
    const wasFull = this.#waiting.length >= MAX_WAITING
    this.#unanswered.clear()
    this.#waiting = []
    if (wasFull) this.#onFull(false)
  }

  #sendReady(): void {
    const [oldest = Number.POSITIVE_INFINITY] = this.#unanswered.values()
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
