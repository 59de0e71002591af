/** Time and timers of the whole project, in whole milliseconds since the Unix epoch. */
export interface Clock {
  now(): number
  /** Runs `run` once after `ms`; the returned function cancels it. Never keeps the process alive. */
  after(ms: number, run: () => void): () => void
}

/** setTimeout's longest wait; longer ones fire at once in Node. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * How many reads one reading serves at the most. Reading the clock costs 43 to 59 ns, a third of a decision; messages
 * that arrive in one socket chunk are decided on one reading, which goes stale when the stack unwinds.
 */
const READS_PER_BATCH = 64

class SystemClock implements Clock {
  private readingMs = 0
  private readsLeft = 0
  /** One microtask at a time: a loop that never unwinds must not queue one for each batch (12 ns a decision). */
  private queued = false
  private readonly unwind = (): void => {
    this.readsLeft = 0
    this.queued = false
  }

  now(): number {
    if (this.readsLeft > 0) {
      this.readsLeft--
      return this.readingMs
    }
    this.readsLeft = READS_PER_BATCH - 1
    this.readingMs = Date.now()
    if (!this.queued) {
      this.queued = true
      queueMicrotask(this.unwind)
    }
    return this.readingMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = setTimeout(run, Math.min(ms, LONGEST_TIMER_MS))
    timer.unref()
    return () => clearTimeout(timer)
  }
}

/** The machine's clock, read once per batch of messages. */
export const systemClock: Clock = new SystemClock()
