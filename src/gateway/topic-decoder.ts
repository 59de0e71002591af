/** Longest topic that is compared byte by byte. */
const COMPARED_BYTES = 256

/** Decodes topics, and returns the last one again without decoding it. */
export class TopicDecoder {
  #bytes: Buffer = Buffer.alloc(0)
  #length = -1
  #topic = ''

  decode(bytes: Buffer, start: number, end: number): string {
    const length = end - start
    if (length === this.#length && this.#isSame(bytes, start)) return this.#topic
    const topic = bytes.toString('utf8', start, end)
    if (length > COMPARED_BYTES) return topic
    if (this.#bytes.length < length) this.#bytes = Buffer.allocUnsafeSlow(Math.max(64, length))
    bytes.copy(this.#bytes, 0, start, end)
    this.#length = length
    this.#topic = topic
    return topic
  }

  #isSame(bytes: Buffer, start: number): boolean {
    const last = this.#bytes
    const length = this.#length
    for (let index = 0; index < length; index++) if (bytes[start + index] !== last[index]) return false
    return true
  }
}
