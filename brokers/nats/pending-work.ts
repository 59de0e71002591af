import { type Clock, startAwaitedTimer } from '../../src/core/clock.ts'

/** Number of pending handlers and unconfirmed copies of a limiter. */
export class PendingWork {
  readonly #clock: Clock
  readonly #idleListeners = new Set<() => void>()
  count = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  start(): void {
    this.count++
  }

  end(): void {
    if (--this.count === 0) for (const notify of this.#idleListeners) notify()
  }

  /** Resolves when nothing is pending, or after `timeoutMs`. */
  whenIdle(timeoutMs: number): Promise<void> {
    if (this.count === 0) return Promise.resolve()
    return new Promise(resolve => {
      const finish = (): void => {
        cancel()
        this.#idleListeners.delete(finish)
        resolve()
      }
      const cancel = startAwaitedTimer(this.#clock, timeoutMs, finish)
      this.#idleListeners.add(finish)
    })
  }
}
