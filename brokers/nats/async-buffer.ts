/** Number of passed messages in the buffer at which the source is paused. */
const MAX_BUFFERED = 32

/**
 * Buffer between a processor and an iterator: passed messages in order, and pending `next` calls in order. Bounded by
 * what the guard holds and by the callers.
 */
export class AsyncBuffer<M> {
  readonly #passed: M[] = []
  #waiters: ((message: M | undefined) => void)[] = []
  #resolveRoom: (() => void) | undefined
  #hasEnded = false

  push(message: M): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter(message)
    else this.#passed.push(message)
  }

  /** Resolves when there is room for more messages. Returns undefined if there is room now. */
  whenRoom(): Promise<void> | undefined {
    if (this.#passed.length < MAX_BUFFERED || this.#hasEnded) return undefined
    return new Promise(resolve => {
      this.#resolveRoom = resolve
    })
  }

  /** Resolves with the next message, or with undefined at the end. Several calls are answered in order. */
  next(): Promise<M | undefined> {
    const message = this.#passed.shift()
    if (message !== undefined || this.#hasEnded) {
      this.#notifyRoom()
      return Promise.resolve(message)
    }
    return new Promise(resolve => void this.#waiters.push(resolve))
  }

  /** Ends the buffer. Messages in it may still be taken. */
  end(): void {
    this.#hasEnded = true
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter(undefined)
    this.#notifyRoom()
  }

  /** Removes and returns all messages. */
  clear(): readonly M[] {
    const remaining = this.#passed.splice(0)
    this.#notifyRoom()
    return remaining
  }

  #notifyRoom(): void {
    this.#resolveRoom?.()
    this.#resolveRoom = undefined
  }
}
