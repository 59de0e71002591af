/** After so many calls the shortest trip is sought anew. */
const CALLS_REMEMBERED = 256

/**
 * What is known of a server's clock, learned from its replies: how far it stands before or behind ours, at least and at
 * the most. Whole milliseconds.
 */
export class ServerTime {
  #leastMs = Number.NEGATIVE_INFINITY
  #mostMs = Number.POSITIVE_INFINITY

  #roundTripMs = 0
  #calls = 0

  get isKnown(): boolean {
    return this.#leastMs > Number.NEGATIVE_INFINITY
  }

  /** The server's clock showed `serverMs` at some moment between the two of ours. */
  learn(sentMs: number, receivedMs: number, serverMs: number): void {
    const least = serverMs - receivedMs
    const most = serverMs + 1 - sentMs
    const stepped = least > this.#mostMs || most < this.#leastMs
    const tripMs = receivedMs - sentMs
    if (this.#calls++ % CALLS_REMEMBERED === 0 || tripMs < this.#roundTripMs) this.#roundTripMs = tripMs
    // What contradicts all earlier replies tells that one of the clocks was set.
    this.#leastMs = stepped ? least : Math.max(this.#leastMs, least)
    this.#mostMs = stepped ? most : Math.min(this.#mostMs, most)
  }

  /** The shortest time from a call to its answer, lately. */
  get roundTripMs(): number {
    return this.#roundTripMs
  }

  /** The earliest that the server's clock can show at a moment of ours: 0 where nothing is known. */
  earliest(ms: number): number {
    return this.isKnown ? ms + this.#leastMs : 0
  }

  /** The likeliest. */
  likeliest(ms: number): number {
    return this.isKnown ? ms + Math.floor((this.#leastMs + this.#mostMs) / 2) : ms
  }

  forget(): void {
    this.#leastMs = Number.NEGATIVE_INFINITY
    this.#mostMs = Number.POSITIVE_INFINITY
  }
}
