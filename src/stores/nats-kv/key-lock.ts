/** Runs work on the same keys in the order of its arrival, so that a process never conflicts with itself. */
export class KeyLock {
  readonly #last = new Map<string, Promise<void>>()

  /** Number of keys in use. */
  get size(): number {
    return this.#last.size
  }

  /** Runs work once all earlier work on any of these keys has ended. */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const before = keys.map(key => this.#last.get(key))
    let end = (): void => {}
    const ended = new Promise<void>(resolve => {
      end = resolve
    })
    // All keys are queued in one step, so two calls for the same keys cannot deadlock.
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
