/** Number of calls after which the shortest round trip is measured again. */
const CALLS_REMEMBERED = 256

/**
 * Offset of a server's clock from the local one, as lower and upper bound learned from its replies, in whole
 * milliseconds.
 */
export class ServerTime {
  #leastMs = Number.NEGATIVE_INFINITY
  #mostMs = Number.POSITIVE_INFINITY

  #roundTripMs = 0
  #calls = 0

  get isKnown(): boolean {
    return this.#leastMs > Number.NEGATIVE_INFINITY
  }

  /** Learns that the server's clock was at `serverMs` between two local times. */
  learn(sentMs: number, receivedMs: number, serverMs: number): void {
    const least = serverMs - receivedMs
    const most = serverMs + 1 - sentMs
    const stepped = least > this.#mostMs || most < this.#leastMs
    const tripMs = receivedMs - sentMs
    if (this.#calls++ % CALLS_REMEMBERED === 0 || tripMs < this.#roundTripMs) this.#roundTripMs = tripMs
    // A reply outside the bounds means that one of the clocks was set.
    this.#leastMs = stepped ? least : Math.max(this.#leastMs, least)
    this.#mostMs = stepped ? most : Math.min(this.#mostMs, most)
  }

  /** Returns the shortest recent time from a call to its answer. */
  get roundTripMs(): number {
    return this.#roundTripMs
  }

  /** Returns the earliest server time at a local time; 0 if unknown. */
  earliest(ms: number): number {
    return this.isKnown ? ms + this.#leastMs : 0
  }

  /** Returns the most likely server time at a local time. */
  likeliest(ms: number): number {
    return this.isKnown ? ms + Math.floor((this.#leastMs + this.#mostMs) / 2) : ms
  }

  forget(): void {
    this.#leastMs = Number.NEGATIVE_INFINITY
    this.#mostMs = Number.POSITIVE_INFINITY
  }
}
