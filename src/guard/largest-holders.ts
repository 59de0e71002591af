/** Messages and bytes that a sender holds, or all senders of an address. */
export class Account {
  messages = 0
  bytes = 0
  /** Where it stands among the others, by messages and by bytes; 0 if it holds none. */
  messagesRank = 0
  bytesRank = 0
}

/** Holders of the highest rank that are compared with each other. */
const COMPARED = 16

/**
 * Accounts by how much they hold, in powers of two, so that a change costs next to nothing: finds one that holds at least
 * half as much as the largest, and the largest itself among few.
 */
export class LargestHolders<A extends Account> {
  readonly #of: 'messages' | 'bytes'
  readonly #rank: 'messagesRank' | 'bytesRank'
  readonly #byRank: Set<A>[] = []
  #highest = 0

  constructor(of: 'messages' | 'bytes') {
    this.#of = of
    this.#rank = `${of}Rank`
  }

  /** To be called after each change of an account. */
  measure(account: A): void {
    const amount = account[this.#of]
    // Bytes may be more than 32 bits hold; above 2^31 all are equal.
    const rank = amount <= 0 ? 0 : 32 - Math.clz32(Math.min(amount, 0x7fff_ffff))
    const before = account[this.#rank]
    if (rank === before) return
    this.#byRank[before]?.delete(account)
    account[this.#rank] = rank
    if (rank > 0) {
      this.#byRank[rank] ??= new Set()
      this.#byRank[rank].add(account)
      if (rank > this.#highest) this.#highest = rank
    }
    while (this.#highest > 0 && !this.#byRank[this.#highest]?.size) this.#highest--
  }

  largest(): A | undefined {
    let largest: A | undefined
    let compared = 0
    for (const account of this.#byRank[this.#highest] ?? []) {
      if (largest === undefined || account[this.#of] > largest[this.#of]) largest = account
      if (++compared >= COMPARED) break
    }
    return largest
  }
}
