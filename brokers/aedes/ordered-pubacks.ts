import type { Duplex } from 'node:stream'

interface Puback {
  readonly messageId: number
  isStored: boolean
}

/**
 * Writes the PUBACKs of a connection when their messages have been stored, in the order in which the messages arrived
 * [MQTT-4.6.0-2].
 */
export class OrderedPubacks {
  readonly #stream: Duplex
  readonly #pending: Puback[] = []

  constructor(stream: Duplex) {
    this.#stream = stream
  }

  /** Reserves the place of a message. Call the result when it has been stored, or with the error that prevented it. */
  expect(messageId: number): (error?: Error | null) => void {
    const puback = { messageId, isStored: false }
    this.#pending.push(puback)
    return error => {
      // aedes closes the connection after an error, and the client resends the message.
      if (error) return
      puback.isStored = true
      this.#writeStored()
    }
  }

  #writeStored(): void {
    let count = 0
    while (this.#pending[count]?.isStored === true) count++
    if (count === 0) return
    const bytes = Buffer.allocUnsafe(count * 4)
    for (const [index, { messageId }] of this.#pending.splice(0, count).entries()) {
      bytes.writeUInt16BE(0x4002, index * 4)
      bytes.writeUInt16BE(messageId, index * 4 + 2)
    }
    if (this.#stream.writable) this.#stream.write(bytes)
  }
}
