/** Source of time and timers, in whole milliseconds since the Unix epoch. */
export interface Clock {
  now(): number
  /** Calls `run` once after `ms`. The returned function cancels it. Does not keep the process alive. */
  after(ms: number, run: () => void): () => void
  /** Like `after`, for a timer that a caller awaits: keeps the process alive. Default: `after`. */
  afterAwaited?(ms: number, run: () => void): () => void
  /** Calls `run` after the event loop has read its sockets again. Default: at once. */
  afterTurn?(run: () => void): void
}

/** A monotone clock. If the underlying clock steps back, it stays at the greatest time seen. */
export interface SteadyClock extends Clock {
  /** Delay of the underlying clock at its last reading, after it stepped back. */
  readonly lagMs: number
}

/** Longest delay of setTimeout in Node. Longer ones fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Maximum number of calls served by one clock reading. Why: a reading takes 43 to 59 ns, a third of a
 * decision. Messages from one socket chunk share a reading, which expires when the stack unwinds.
 */
const READS_PER_BATCH = 64

class SystemClock implements SteadyClock {
  lagMs = 0
  private readingMs = 0
  private readsLeft = 0
  /**
   * True while a microtask is queued. Why: a loop that never unwinds must not queue one for each batch (12 ns
   * per decision).
   */
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

/** The system clock, read once per batch of messages. Monotone. */
export const systemClock: SteadyClock = new SystemClock()

/** Calls `run` once after `ms`, for a caller that awaits it. Keeps the process alive until then. */
export function startAwaitedTimer(clock: Clock, ms: number, run: () => void): () => void {
  return clock.afterAwaited === undefined ? clock.after(ms, run) : clock.afterAwaited(ms, run)
}

/** Resolves after `ms`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise(resolve => void startAwaitedTimer(clock, ms, resolve))
}

/** Timer delay above which the event loop counts as busy. */
const LATE_TIMER_MS = 5

/**
 * Calls `run` if an awaited answer is late. The returned function cancels it. Time in which the event loop
 * was busy does not count: an answer that is already in the socket is read first, and the deadline is
 * extended by the delay of the timer, at most `ms`.
 */
export function callIfLate(clock: Clock, ms: number, run: () => void): () => void {
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
  let cancel = startAwaitedTimer(clock, ms, () =>
    lookAgain(() => {
      const ownDelayMs = Math.min(clock.now() - dueMs, ms)
      if (isOver || ownDelayMs < LATE_TIMER_MS) return end()
      cancel = startAwaitedTimer(clock, ownDelayMs, () => lookAgain(end))
    }),
  )
  return () => {
    isOver = true
    cancel()
  }
}

/** Makes any clock monotone. Uses the timers of the underlying clock. */
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

/** Returns the monotone form of a clock; the same object for each call with the same clock. */
export function toMonotonicClock(clock: Clock): SteadyClock {
  if ('lagMs' in clock) return clock as SteadyClock
  let made = STEADY.get(clock)
  if (made === undefined) {
    made = new MonotoneClock(clock)
    STEADY.set(clock, made)
  }
  return made
}
