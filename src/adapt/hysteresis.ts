/** A value above `above` selects `factor`. Levels are in ascending order. */
export interface HysteresisLevel {
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
  readonly #rungs: readonly HysteresisLevel[]
  readonly #floor: Omit<HysteresisLevel, 'above'>
  /** Number of levels below the value; 0 is the lowest level. */
  #height = 0
  #milder = 0
  #mildest = 0

  constructor(floor: Omit<HysteresisLevel, 'above'>, rungs: readonly HysteresisLevel[]) {
    this.#floor = floor
    this.#rungs = rungs
  }

  /** Current level. */
  get rung(): Omit<HysteresisLevel, 'above'> {
    return this.#rungs[this.#height - 1] ?? this.#floor
  }

  /** Records a reading. */
  climb(value: number): void {
    const harsh = this.#heightOf(value, 0)
    if (harsh >= this.#height) {
      // The first reading may start at any level, without delay.
      this.#height = harsh
      this.#milder = 0
      return
    }
    const mild = this.#heightOf(value, GAP)
    if (mild >= this.#height) {
      this.#milder = 0
      return
    }
    this.#mildest = this.#milder === 0 ? mild : Math.max(this.#mildest, mild)
    this.#milder++
    if (this.#milder < PATIENCE) return
    this.#height = this.#mildest
    this.#milder = 0
  }

  /** Starts at the level of a value, without delay. */
  begin(value: number): void {
    this.#height = this.#heightOf(value, 0)
    this.#milder = 0
  }

  #heightOf(value: number, gap: number): number {
    let height = 0
    for (const { above } of this.#rungs) if (value > above * (1 - gap)) height++
    return height
  }
}
