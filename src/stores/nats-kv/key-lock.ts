/** Lets work on the same keys run one after another, in the order it came, so that a process never races itself. */
export class KeyLock {
  readonly #last = new Map<string, Promise<void>>()

  /** How many keys are being worked on. */
  get size(): number {
    return this.#last.size
  }

  /** Runs when all that was asked before for any of these keys has ended. */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const before = keys.map(key => this.#last.get(key))
    let end = (): void => {}
    const ended = new Promise<void>(resolve => {
      end = resolve
    })
    // All places are taken at once: two that want the same keys cannot wait for each other.
    for (const key of keys) this.#last.set(key, ended)
    try {
      await Promise.all(before)
      return await work()
    } finally {
      end()
      for (const key of keys) if (this.#last.get(key) === ended) this.#last.delete(key)
    }
  }
}
