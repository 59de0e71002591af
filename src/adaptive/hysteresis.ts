/** A value above `above` selects `factor`. Levels are in ascending order. */
export interface LoadLevel {
  readonly above: number
  readonly factor: number
  readonly name: string
}

/** Part of a threshold by which a value must be below it before a milder level applies. */
const GAP = 0.1
/** Consecutive readings that must agree before a milder level applies. */
const PATIENCE = 2

/**
 * Levels of factors with hysteresis. A harsher level applies at once, a milder one after two consecutive
 * readings a tenth below its threshold. A value that oscillates around a threshold therefore changes nothing.
 */
export class Hysteresis {
  readonly #higher: readonly LoadLevel[]
  readonly #lowest: Omit<LoadLevel, 'above'>
  /** Index of the current level; 0 is the lowest level. */
  #index = 0
  /** Consecutive readings of a milder level, and the highest index among them. */
  #milderReadings = 0
  #milderIndex = 0

  constructor(lowest: Omit<LoadLevel, 'above'>, higher: readonly LoadLevel[]) {
    this.#lowest = lowest
    this.#higher = higher
  }

  /** Current level. */
  get level(): Omit<LoadLevel, 'above'> {
    return this.#higher[this.#index - 1] ?? this.#lowest
  }

  /** Records a reading. */
  record(value: number): void {
    const harsher = this.#indexOf(value, 0)
    if (harsher >= this.#index) {
      // The first reading may start at any level, without delay.
      this.#index = harsher
      this.#milderReadings = 0
      return
    }
    const milder = this.#indexOf(value, GAP)
    if (milder >= this.#index) {
      this.#milderReadings = 0
      return
    }
    this.#milderIndex = this.#milderReadings === 0 ? milder : Math.max(this.#milderIndex, milder)
    this.#milderReadings++
    if (this.#milderReadings < PATIENCE) return
    this.#index = this.#milderIndex
    this.#milderReadings = 0
  }

  /** Starts at the level of a value, without delay. */
  reset(value: number): void {
    this.#index = this.#indexOf(value, 0)
    this.#milderReadings = 0
  }

  #indexOf(value: number, gap: number): number {
    let index = 0
    for (const { above } of this.#higher) if (value > above * (1 - gap)) index++
    return index
  }
}
