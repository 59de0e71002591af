import type { Clock } from './clock.ts'

/** Work in one turn of the event loop, in milliseconds; and steps of one task, as a clock is not read anew each time. */
const SLICE_MS = 2
const SLICE_STEPS = 128

/** Something that can go on later, and that can be asked about again. */
export interface SlicedTask {
  /** The change after which it was last asked about. */
  askedVersion: number
  /** Asks again about what waits for its time. */
  askAgain(): void
  /** Goes on where it stopped at the end of a slice. */
  goOn(): void
}

/** Steps of one run; says when the event loop is to have its turn. */
export class Slice {
  readonly #clock: Clock
  #steps = 0
  #sinceMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts a step. True if no further one is to follow in this turn. */
  isOver(): boolean {
    const nowMs = this.#clock.now()
    this.#sinceMs ??= nowMs
    return ++this.#steps > SLICE_STEPS || nowMs - this.#sinceMs >= SLICE_MS
  }
}

/**
 * Runs work that may be long in slices of about two milliseconds with a turn of the event loop between them: held
 * messages that are asked about again after a change, and what may pass all at once.
 */
export class SlicedWork {
  /** Counts changes: an answer that was asked for before the last one may be out of date. */
  version = 0
  readonly #clock: Clock
  readonly #later = new Set<SlicedTask>()
  readonly #sweeps: Iterator<SlicedTask>[] = []
  #cancel: (() => void) | undefined
  /** A task has used up a slice in this turn. */
  #isUsed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  slice(): Slice {
    return new Slice(this.#clock)
  }

  goOnLater(task: SlicedTask): void {
    this.#isUsed = true
    this.#later.add(task)
    this.#schedule()
  }

  /** Asks again about all tasks that were not since the last change; the iterator may grow meanwhile. */
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
      task.goOn()
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
