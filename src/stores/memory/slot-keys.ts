const CHUNK_BITS = 12
const LAST_SLOT = (1 << CHUNK_BITS) - 1

/**
 * Keys by slot, in chunks like the records: growing copies at most one chunk. Why: growing a single array of a
 * million keys blocks the event loop for some 30 ms.
 */
export class SlotKeys {
  #chunks: (string | undefined)[][] = []
  /** Highest slot ever set, plus one. */
  length = 0

  /** Returns the key of a slot; undefined if it was freed. */
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
