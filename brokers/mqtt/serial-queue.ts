/** Number of processed entries after which the list is shortened. */
const MAX_PROCESSED = 1_024

/** Runs asynchronous work in order, one item after another. Synchronous work runs at once, without a promise. */
export class SerialQueue<T> {
  readonly #run: (item: T) => Promise<void> | undefined
  #waiting: T[] = []
  #first = 0
  #isBusy = false
  #idleCallbacks: (() => void)[] = []

  /** `run` must not throw or reject. */
  constructor(run: (item: T) => Promise<void> | undefined) {
    this.#run = run
  }

  get isIdle(): boolean {
    return !this.#isBusy
  }

  /** Runs an item when all earlier ones have ended. */
  enqueue(item: T): void {
    if (this.#isBusy) this.#waiting.push(item)
    else this.#runFrom(item)
  }

  /** Calls `then` when no item runs or waits; at once if that is so now. */
  whenIdle(then: () => void): void {
    if (this.isIdle) then()
    else this.#idleCallbacks.push(then)
  }

  #runFrom(first: T | undefined): void {
    this.#isBusy = true
    for (let item = first; item !== undefined; item = this.#next()) {
      const running = this.#run(item)
      if (running === undefined) continue
      running.then(() => this.#runFrom(this.#next()))
      return
    }
    this.#isBusy = false
    const callbacks = this.#idleCallbacks
    if (callbacks.length === 0) return
    this.#idleCallbacks = []
    for (const then of callbacks) then()
  }

  #next(): T | undefined {
    const item = this.#waiting[this.#first]
    if (item === undefined) {
      this.#waiting.length = 0
      this.#first = 0
      return undefined
    }
    this.#first++
    if (this.#first >= MAX_PROCESSED && this.#first * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first)
      this.#first = 0
    }
    return item
  }
}
