const CHUNK_BITS = 12
const LAST_SLOT = (1 << CHUNK_BITS) - 1

/**
 * Keys by slot. In chunks, as the records are: growing copies at most one chunk. One array of a million keys would
 * stop the loop for some 30 ms each time it grows.
 */
export class KeyList {
  #chunks: (string | undefined)[][] = []
  /** One more than the highest slot that was ever set. */
  length = 0

  /** The key of a slot that was set; undefined where it was freed. */
  get(slot: number): string | undefined {
    return this.#chunks[slot >> CHUNK_BITS]![slot & LAST_SLOT]
  }

  /** Sets a slot below `length`, or the next one. */
  set(slot: number, key: string | undefined): void {
    if (slot === this.length) {
      this.length++
      if ((slot & LAST_SLOT) === 0) this.#chunks.push([])
    }
    this.#chunks[slot >> CHUNK_BITS]![slot & LAST_SLOT] = key
  }

  clear(): void {
    this.#chunks = []
    this.length = 0
  }
}
