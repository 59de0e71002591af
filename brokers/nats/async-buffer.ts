/** Messages that have passed and were not asked for yet, at which no more are taken from their source. */
const AHEAD = 32

/**
 * Messages that have passed, in their order, and the calls of an iterator that wait for one, in theirs. Bounded by what the guard
 * holds, and by the callers.
 */
export class AsyncBuffer<M> {
  readonly #passed: M[] = []
  #waiters: ((message: M | undefined) => void)[] = []
  #roomier: (() => void) | undefined
  #ended = false

  give(message: M): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter(message)
    else this.#passed.push(message)
  }

  /** Resolves when there is room to take more. */
  room(): Promise<void> | undefined {
    if (this.#passed.length < AHEAD || this.#ended) return undefined
    return new Promise(resolve => {
      this.#roomier = resolve
    })
  }

  /** The next; undefined at the end. Several may be waited for: they are given in the order of the calls. */
  take(): Promise<M | undefined> {
    const message = this.#passed.shift()
    if (message !== undefined || this.#ended) {
      this.#tellRoom()
      return Promise.resolve(message)
    }
    return new Promise(resolve => void this.#waiters.push(resolve))
  }

  /** Nothing more will pass; what has may still be taken. */
  end(): void {
    this.#ended = true
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter(undefined)
    this.#tellRoom()
  }

  /** All that was not taken. */
  clear(): readonly M[] {
    const left = this.#passed.splice(0)
    this.#tellRoom()
    return left
  }

  #tellRoom(): void {
    this.#roomier?.()
    this.#roomier = undefined
  }
}
