/** Number of messages and bytes held by a sender, or by all senders of an address. */
export class HeldAmount {
  messages = 0
  bytes = 0
  /** Rank by messages and by bytes: the base-2 logarithm of the amount plus one, or 0 if nothing is held. */
  messagesRank = 0
  bytesRank = 0
}

/** Most accounts of the highest rank that are compared with each other. */
const MAX_COMPARED = 16

/**
 * Accounts ranked by the amount they hold, in powers of two, so that an update is cheap. Finds an account that holds
 * at least half as much as the largest, and the largest itself among a few.
 */
export class LargestHolders<A extends HeldAmount> {
  readonly #resource: 'messages' | 'bytes'
  readonly #rank: 'messagesRank' | 'bytesRank'
  readonly #byRank: Set<A>[] = []
  #highest = 0

  constructor(resource: 'messages' | 'bytes') {
    this.#resource = resource
    this.#rank = `${resource}Rank`
  }

  /** Updates the rank of an account. Call it after each change. */
  update(account: A): void {
    const amount = account[this.#resource]
    // Above 2^31 bytes all accounts are equal, because clz32 takes 32 bits.
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
      if (largest === undefined || account[this.#resource] > largest[this.#resource]) largest = account
      if (++compared >= MAX_COMPARED) break
    }
    return largest
  }
}
