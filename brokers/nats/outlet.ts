/** Messages that have passed and were not asked for yet, at which no more are taken from their source. */
const AHEAD = 32

/** Between what passes and an iterator that asks: in the order it passed. Bounded by what the guard holds. */
export class Outlet<M> {
  readonly #passed: M[] = []
  #wanted: ((message: M | undefined) => void) | undefined
  #roomier: (() => void) | undefined
  #ended = false

  give(message: M): void {
    const wanted = this.#wanted
    this.#wanted = undefined
    if (wanted !== undefined) wanted(message)
    else this.#passed.push(message)
  }

  /** Resolves when there is room to take more. */
  room(): Promise<void> | undefined {
    if (this.#passed.length < AHEAD || this.#ended) return undefined
    return new Promise(resolve => {
      this.#roomier = resolve
    })
  }

  /** The next; undefined at the end. */
  take(): Promise<M | undefined> {
    const message = this.#passed.shift()
    if (message !== undefined || this.#ended) {
      this.#tellRoom()
      return Promise.resolve(message)
    }
    return new Promise(resolve => {
      this.#wanted = resolve
    })
  }

  /** Nothing more will pass; what has may still be taken. */
  end(): void {
    this.#ended = true
    this.#wanted?.(undefined)
    this.#wanted = undefined
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
