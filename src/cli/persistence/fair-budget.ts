/** Free units that one owner leaves to others, as a part of what it uses itself. */
const SHARE = 9

/**
 * A maximum shared by owners. An owner may use at most nine times what is free: one alone gets nine tenths, several share
 * it evenly, and a new owner always finds room.
 */
export class FairBudget {
  readonly max: number
  #used = 0
  readonly #usedBy = new Map<string, number>()

  constructor(max: number) {
    this.max = max
  }

  get used(): number {
    return this.#used
  }

  /** Returns true if the owner may use `amount` more; an unknown owner may use all that is free. */
  hasRoom(owner: string | undefined, amount: number): boolean {
    const free = this.max - this.#used - amount
    if (free < 0) return false
    if (owner === undefined) return true
    const own = this.#usedBy.get(owner) ?? 0
    return own === 0 || own + amount <= SHARE * free
  }

  /** Counts an amount, even above the maximum. */
  add(owner: string | undefined, amount: number): void {
    this.#used += amount
    if (owner !== undefined) this.#usedBy.set(owner, (this.#usedBy.get(owner) ?? 0) + amount)
  }

  remove(owner: string | undefined, amount: number): void {
    this.#used -= amount
    if (owner === undefined) return
    const own = (this.#usedBy.get(owner) ?? 0) - amount
    if (own > 0) this.#usedBy.set(owner, own)
    else this.#usedBy.delete(owner)
  }
}
