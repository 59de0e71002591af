/** Duration of the work in one turn of the event loop, in milliseconds. */
const TURN_MS = 2

/**
 * Divides long work into turns of the event loop, so that sockets and timers are served in between. Uses real time:
 * the clock of a gate may stand still.
 */
export class LoopTurns {
  #endMs = performance.now() + TURN_MS

  /** True if the work of this turn has lasted long enough. Await `next` then. */
  isOver(): boolean {
    return performance.now() >= this.#endMs
  }

  /** Resolves in the next turn. */
  async next(): Promise<void> {
    await new Promise<void>(resolve => setImmediate(resolve))
    this.#endMs = performance.now() + TURN_MS
  }

  /** Runs the steps of a generator, with pauses between turns, and resolves with its result. */
  async run<T>(steps: Generator<void, T>): Promise<T> {
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value
      if (this.isOver()) await this.next()
    }
  }
}

/** Runs the steps of a generator at once, and returns its result. */
export function runAtOnce<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}
