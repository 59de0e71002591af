/**
 * Counts the most frequent of arbitrarily many names in bounded memory (Misra and Gries, 1982): with room for k, a
 * name that came more than n ÷ (k + 1) times of n is there, and its count is too low by at most that. Exact while
 * there are no more names than room.
 */
export class HeavyHitters {
  readonly #room: number
  readonly #counts = new Map<string, number>()
  #lost = 0

  constructor(room: number) {
    this.#room = room
  }

  /** By how much a count may be too low. */
  get errorAtMost(): number {
    return this.#lost
  }

  add(name: string): void {
    const count = this.#counts.get(name)
    if (count !== undefined) this.#counts.set(name, count + 1)
    else if (this.#counts.size < this.#room) this.#counts.set(name, 1)
    else this.#takeOneFromAll()
  }

  /** The most frequent first; names of equal counts in the order of the alphabet. */
  top(most: number): readonly { readonly name: string; readonly count: number }[] {
    return Array.from(this.#counts, ([name, count]) => ({ name, count }))
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, most)
  }

  #takeOneFromAll(): void {
    this.#lost++
    for (const [name, count] of this.#counts) {
      if (count === 1) this.#counts.delete(name)
      else this.#counts.set(name, count - 1)
    }
  }
}
