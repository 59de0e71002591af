/** Bounds of a cache. */
export interface CacheBounds<Value = unknown> {
  readonly maxEntries: number
  /** Characters of a key. Longer keys are not cached. Why: V8 hashes long strings by their length alone. */
  readonly maxKeyChars: number
  /** Characters of all entries together. */
  readonly maxTotalChars: number
  /** Returns true for a value that should not be evicted. A quarter of the entries at most are kept for that. */
  readonly isBusy?: ((value: Value) => boolean) | undefined
}

/**
 * Bounded cache of values by text, in two generations: a full young generation becomes the old one, and an
 * entry that is used again returns to the young generation. Invented keys therefore do not evict keys in use.
 */
export class TwoGenerationCache<Value> {
  readonly #bounds: CacheBounds<Value>
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()
  #youngChars = 0

  constructor(bounds: CacheBounds<Value>) {
    this.#bounds = bounds
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** `chars` is the size of the entry, if it is larger than its key. */
  get(key: string, chars = key.length): Value | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old, chars)
    return old
  }

  set(key: string, value: Value, chars = key.length): void {
    const { maxEntries, maxKeyChars, maxTotalChars } = this.#bounds
    if (key.length > maxKeyChars) return
    this.#old.delete(key)
    if (this.#young.size >= maxEntries / 2 || this.#youngChars + chars > maxTotalChars / 2)
      this.#startGeneration()
    this.#young.set(key, value)
    this.#youngChars += chars
  }

  /** Returns all values, in no order. */
  *values(): IterableIterator<Value> {
    yield* this.#young.values()
    yield* this.#old.values()
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
    this.#youngChars = 0
  }

  #startGeneration(): void {
    const evicted = this.#old
    this.#old = this.#young
    this.#young = new Map()
    this.#youngChars = 0
    const { isBusy, maxEntries } = this.#bounds
    if (isBusy === undefined) return
    for (const [key, value] of evicted) {
      if (!isBusy(value)) continue
      // Their characters do not count, because a generation full of them would end with every new key.
      this.#young.set(key, value)
      if (this.#young.size >= maxEntries / 4) return
    }
  }
}
