import type { Clock } from './clock.ts'

/** Duration of the work in one turn of the event loop, in milliseconds, and maximum number of steps. */
const SLICE_MS = 2
const SLICE_STEPS = 128

/** A task that can be interrupted, and that can be checked again after a change. */
export interface SlicedTask {
  /** Version of the last check. */
  askedVersion: number
  /** Checks the waiting messages again. */
  askAgain(): void
  /** Continues after an interruption. */
  runNextSlice(): void
}

/** Counts the steps of one run and decides when to yield to the event loop. */
export class WorkSlice {
  readonly #clock: Clock
  #steps = 0
  #sinceMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts a step. Returns true if the run has to yield. */
  isOver(): boolean {
    const nowMs = this.#clock.now()
    this.#sinceMs ??= nowMs
    return ++this.#steps > SLICE_STEPS || nowMs - this.#sinceMs >= SLICE_MS
  }
}

/**
 * Runs long work in slices of about two milliseconds and yields to the event loop between them: checks of
 * held messages after a change, and the release of many messages.
 */
export class SlicedWork {
  /** Incremented by each change. A check started before the last change may be outdated. */
  version = 0
  readonly #clock: Clock
  readonly #later = new Set<SlicedTask>()
  readonly #sweeps: Iterator<SlicedTask>[] = []
  #cancel: (() => void) | undefined
  /** True if a task has used up a slice in this turn. */
  #isUsed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  slice(): WorkSlice {
    return new WorkSlice(this.#clock)
  }

  scheduleSlice(task: SlicedTask): void {
    this.#isUsed = true
    this.#later.add(task)
    this.#schedule()
  }

  /** Checks all tasks again that were not checked since the last change. The iterator may grow meanwhile. */
  askAgain(tasks: Iterator<SlicedTask>): void {
    this.#sweeps.push(tasks)
    this.#schedule()
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#later.clear()
    this.#sweeps.length = 0
  }

  #schedule(): void {
    this.#cancel ??= this.#clock.after(1, () => {
      this.#cancel = undefined
      this.#run()
    })
  }

  #run(): void {
    const endMs = this.#clock.now() + SLICE_MS
    this.#isUsed = false
    try {
      for (let steps = 0; this.#step(); steps++) {
        if (this.#isUsed || steps >= SLICE_STEPS || this.#clock.now() >= endMs) break
      }
    } finally {
      if (this.#later.size > 0 || this.#sweeps.length > 0) this.#schedule()
    }
  }

  #step(): boolean {
    const [task] = this.#later
    if (task !== undefined) {
      this.#later.delete(task)
      task.runNextSlice()
      return true
    }
    const sweep = this.#sweeps.at(-1)
    if (sweep === undefined) return false
    const { value, done } = sweep.next() as IteratorResult<SlicedTask, undefined>
    if (done || value === undefined) this.#sweeps.splice(this.#sweeps.indexOf(sweep), 1)
    else if (value.askedVersion !== this.version) {
      value.askedVersion = this.version
      value.askAgain()
    }
    return true
  }
}
