/** Time and timers of the whole project, in whole milliseconds since the Unix epoch. */
export interface Clock {
  now(): number
  /** Runs `run` once after `ms`; the returned function cancels it. Never keeps the process alive. */
  after(ms: number, run: () => void): () => void
}

/** setTimeout's longest wait; longer ones fire at once in Node. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * How many reads one reading serves at the most. Reading the clock costs 43 to 59 ns, a third of a decision;
 * messages that arrive in one socket chunk are decided on one reading, which goes stale when the stack unwinds.
 */
const READS_PER_BATCH = 64

class SystemClock implements Clock {
  #reading = 0
  #reads = 0
  readonly #stale = (): void => {
    this.#reads = 0
  }

  now(): number {
    if (this.#reads > 0) {
      this.#reads--
      return this.#reading
    }
    this.#reads = READS_PER_BATCH - 1
    this.#reading = Date.now()
    queueMicrotask(this.#stale)
    return this.#reading
  }

  after(ms: number, run: () => void): () => void {
    const timer = setTimeout(run, Math.min(ms, LONGEST_TIMER_MS))
    timer.unref()
    return () => clearTimeout(timer)
  }
}

/** The machine's clock, read once per batch of messages. */
export const systemClock: Clock = new SystemClock()
