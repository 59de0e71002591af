/** Finds the PONG for a PING of the gateway among the PONGs for the client. Servers answer PINGs in order. */
export class GatewayPing {
  /** PINGs of the client that the server has not answered. */
  #clientPings = 0
  /** Number of PONGs for the client before the one for the gateway. Undefined if the gateway waits for none. */
  #pongsBefore: number | undefined
  /** Called with the PONG for the gateway. */
  onPong: (() => void) | undefined

  countClientPing(): void {
    this.#clientPings++
  }

  countGatewayPing(): void {
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
