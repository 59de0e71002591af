/** Time and timers of the whole project, in whole milliseconds since the Unix epoch. */
export interface Clock {
  now(): number
  /** Runs `run` once after `ms`; the returned function cancels it. Does not keep the process alive. */
  after(ms: number, run: () => void): () => void
  /** The same for a timer that a caller awaits, which keeps the process alive. Default: `after`. */
  afterAwaited?(ms: number, run: () => void): () => void
  /** Runs `run` once the event loop has read its sockets again. Default: at once. */
  afterTurn?(run: () => void): void
}

/** A clock that never shows less than it has shown before: it stands still while the one behind it has stepped back. */
export interface SteadyClock extends Clock {
  /** How far the clock behind it was behind when it was last read. */
  readonly lagMs: number
}

/** setTimeout's longest wait; longer ones fire at once in Node. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * How many reads one reading serves at the most. Reading the clock costs 43 to 59 ns, a third of a decision; messages
 * that arrive in one socket chunk are decided on one reading, which goes stale when the stack unwinds.
 */
const READS_PER_BATCH = 64

class SystemClock implements SteadyClock {
  lagMs = 0
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
    const ms = Date.now()
    this.lagMs = Math.max(0, this.readingMs - ms)
    if (this.lagMs === 0) this.readingMs = ms
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

  afterAwaited(ms: number, run: () => void): () => void {
    const timer = setTimeout(run, Math.min(ms, LONGEST_TIMER_MS))
    return () => clearTimeout(timer)
  }

  afterTurn(run: () => void): void {
    setImmediate(run)
  }
}

/** The machine's clock, read once per batch of messages; it never shows less than it has shown before. */
export const systemClock: SteadyClock = new SystemClock()

/** Runs `run` once after `ms`, for a caller who awaits it: the process stays alive until then. */
export function afterAwaited(clock: Clock, ms: number, run: () => void): () => void {
  return clock.afterAwaited === undefined ? clock.after(ms, run) : clock.afterAwaited(ms, run)
}

/** Resolves after `ms`. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise(resolve => void afterAwaited(clock, ms, resolve))
}

/** A timer that is later than this shows that the event loop was busy. */
const LATE_TIMER_MS = 5

/**
 * Runs `run` when an awaited answer is late; the returned function cancels it. The time in which the event loop was
 * busy does not count: an answer that is in the socket already is read first, and as long as the timer itself was late,
 * at most `ms`, the answer has in addition.
 */
export function limitWait(clock: Clock, ms: number, run: () => void): () => void {
  const dueMs = clock.now() + ms
  let isOver = false
  const end = (): void => {
    if (isOver) return
    isOver = true
    run()
  }
  const lookAgain = (then: () => void): void => {
    if (isOver) return
    if (clock.afterTurn === undefined) then()
    else clock.afterTurn(then)
  }
  let cancel = afterAwaited(clock, ms, () =>
    lookAgain(() => {
      const ownDelayMs = Math.min(clock.now() - dueMs, ms)
      if (isOver || ownDelayMs < LATE_TIMER_MS) return end()
      cancel = afterAwaited(clock, ownDelayMs, () => lookAgain(end))
    }),
  )
  return () => {
    isOver = true
    cancel()
  }
}

/** Makes any clock steady. Timers are those of the clock behind it. */
class MonotoneClock implements SteadyClock {
  lagMs = 0
  private greatestMs = Number.NEGATIVE_INFINITY
  private readonly clock: Clock

  constructor(clock: Clock) {
    this.clock = clock
  }

  now(): number {
    const ms = this.clock.now()
    if (ms >= this.greatestMs) {
      this.greatestMs = ms
      this.lagMs = 0
      return ms
    }
    this.lagMs = this.greatestMs - ms
    return this.greatestMs
  }

  after(ms: number, run: () => void): () => void {
    return this.clock.after(ms, run)
  }

  afterAwaited(ms: number, run: () => void): () => void {
    return this.clock.afterAwaited?.(ms, run) ?? this.clock.after(ms, run)
  }

  afterTurn(run: () => void): void {
    if (this.clock.afterTurn === undefined) run()
    else this.clock.afterTurn(run)
  }
}

const STEADY = new WeakMap<Clock, SteadyClock>()

/** Returns the steady form of a clock, the same one for all who share the clock. */
export function steady(clock: Clock): SteadyClock {
  if ('lagMs' in clock) return clock as SteadyClock
  let made = STEADY.get(clock)
  if (made === undefined) {
    made = new MonotoneClock(clock)
    STEADY.set(clock, made)
  }
  return made
}
