/** Number of calls after which the shortest round trip is measured again. */
const CALLS_REMEMBERED = 256

/**
 * Offset of a server's clock from the local one, as lower and upper bound learned from its replies, in whole
 * milliseconds.
 */
export class ServerClockOffset {
  #minOffsetMs = Number.NEGATIVE_INFINITY
  #maxOffsetMs = Number.POSITIVE_INFINITY

  #roundTripMs = 0
  #calls = 0

  get isKnown(): boolean {
    return this.#minOffsetMs > Number.NEGATIVE_INFINITY
  }

  /** Learns that the server's clock was at `serverMs` between two local times. */
  learn(sentMs: number, receivedMs: number, serverMs: number): void {
    const minMs = serverMs - receivedMs
    const maxMs = serverMs + 1 - sentMs
    const stepped = minMs > this.#maxOffsetMs || maxMs < this.#minOffsetMs
    const tripMs = receivedMs - sentMs
    if (this.#calls++ % CALLS_REMEMBERED === 0 || tripMs < this.#roundTripMs) this.#roundTripMs = tripMs
    // A reply outside the bounds means that one of the clocks was set.
    this.#minOffsetMs = stepped ? minMs : Math.max(this.#minOffsetMs, minMs)
    this.#maxOffsetMs = stepped ? maxMs : Math.min(this.#maxOffsetMs, maxMs)
  }

  /** Returns the shortest recent time from a call to its answer. */
  get roundTripMs(): number {
    return this.#roundTripMs
  }

  /** Returns the earliest server time at a local time; 0 if unknown. */
  earliest(ms: number): number {
    return this.isKnown ? ms + this.#minOffsetMs : 0
  }

  /** Returns the most likely server time at a local time. */
  likeliest(ms: number): number {
    return this.isKnown ? ms + Math.floor((this.#minOffsetMs + this.#maxOffsetMs) / 2) : ms
  }

  forget(): void {
    this.#minOffsetMs = Number.NEGATIVE_INFINITY
    this.#maxOffsetMs = Number.POSITIVE_INFINITY
  }
}
