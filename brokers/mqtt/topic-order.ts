/** How many places of those that had their turn are kept before the list is cut. */
const SPENT = 1_024

/** Runs what may take its time one after another, in order. What is quick runs at once, without a promise. */
export class SerialQueue<T> {
  readonly #run: (item: T) => Promise<void> | undefined
  #waiting: T[] = []
  #first = 0
  #busy = false
  #idle: (() => void)[] = []

  /** `run` must neither throw nor reject. */
  constructor(run: (item: T) => Promise<void> | undefined) {
    this.#run = run
  }

  get isIdle(): boolean {
    return !this.#busy
  }

  /** Runs an item when all before it have ended. */
  take(item: T): void {
    if (this.#busy) this.#waiting.push(item)
    else this.#go(item)
  }

  /** Calls back when nothing runs or waits; at once where that is so. */
  whenIdle(then: () => void): void {
    if (this.isIdle) then()
    else this.#idle.push(then)
  }

  #go(first: T | undefined): void {
    this.#busy = true
    for (let item = first; item !== undefined; item = this.#next()) {
      const running = this.#run(item)
      if (running === undefined) continue
      running.then(() => this.#go(this.#next()))
      return
    }
    this.#busy = false
    const idle = this.#idle
    if (idle.length === 0) return
    this.#idle = []
    for (const then of idle) then()
  }

  #next(): T | undefined {
    const item = this.#waiting[this.#first]
    if (item === undefined) {
      this.#waiting.length = 0
      this.#first = 0
      return undefined
    }
    this.#first++
    if (this.#first >= SPENT && this.#first * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first)
      this.#first = 0
    }
    return item
  }
}
