const IDS = 65_536

/** Set of packet ids. Takes 8 KiB from the first id on, whatever a client sends. */
export class PacketIds {
  #bits: Uint8Array | undefined
  size = 0

  has(id: number): boolean {
    return this.#bits !== undefined && (this.#bits[id >> 3]! & (1 << (id & 7))) !== 0
  }

  add(id: number): void {
    if (this.has(id)) return
    this.#bits ??= new Uint8Array(IDS / 8)
    this.#bits[id >> 3]! |= 1 << (id & 7)
    this.size++
  }

  /** Removes an id. Returns false if it was absent. */
  delete(id: number): boolean {
    if (!this.has(id)) return false
    this.#bits![id >> 3]! &= ~(1 << (id & 7))
    this.size--
    return true
  }
}
