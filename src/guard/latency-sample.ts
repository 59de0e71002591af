import { MAX_SIZES } from '../core/max-sizes.ts'

/**
 * Chooses 1 in `n` for each key, the first, the (n + 1)th and so on. Remembers `BOUNDS.sampledKeys` keys; of more, the one
 * that was longest not asked about begins anew.
 */
export class Sample {
  /** Messages since the last that was chosen; the least recently asked first. */
  readonly #since = new Map<string, number>()

  chooses(key: string, n: number): boolean {
    const before = this.#since.get(key)
    const place = before === undefined || before + 1 >= n ? 0 : before + 1
    this.#since.delete(key)
    this.#since.set(key, place)
    if (this.#since.size > MAX_SIZES.sampledKeys) {
      const [oldest] = this.#since.keys()
      this.#since.delete(oldest!)
    }
    return place === 0
  }
}
