/** Finds the PONG for a PING of the gateway among those for the client: servers answer in order. */
export class OwnPing {
  /** PINGs of the client that the server has not answered. */
  #clientPings = 0
  /** PONGs for the client that come before that for the gateway; undefined if the gateway waits for none. */
  #pongsBefore: number | undefined
  /** Called with the PONG for the gateway. */
  onPong: (() => void) | undefined

  countClientPing(): void {
    this.#clientPings++
  }

  countOwnPing(): void {
    this.#pongsBefore = this.#clientPings
  }

  /** Handles a PONG. Returns true if it is for the gateway. */
  handlePong(): boolean {
    if (this.#pongsBefore === 0) {
      this.#pongsBefore = undefined
      this.onPong?.()
      return true
    }
    if (this.#pongsBefore !== undefined) this.#pongsBefore--
    this.#clientPings--
    return false
  }
}
