/** A value above `above` calls for `factor`. Rungs stand in ascending order. */
export interface HysteresisLevel {
  readonly above: number
  readonly factor: number
  readonly name: string
}

/** Part of a threshold a value must fall below it before a milder rung is taken. */
const GAP = 0.1
/** Readings in a row that must agree before a milder rung is taken. */
const PATIENCE = 2

/**
 * Steps of factors over a value, with hysteresis: a harsher rung is taken at once, a milder one after two readings in
 * a row that lie a tenth below its threshold. A value that trembles at a threshold so changes nothing.
 */
export class Hysteresis {
  readonly #rungs: readonly HysteresisLevel[]
  readonly #floor: Omit<HysteresisLevel, 'above'>
  /** Rungs below the value: 0 stands for the floor. */
  #height = 0
  #milder = 0
  #mildest = 0

  constructor(floor: Omit<HysteresisLevel, 'above'>, rungs: readonly HysteresisLevel[]) {
    this.#floor = floor
    this.#rungs = rungs
  }

  /** What the value calls for by now. */
  get rung(): Omit<HysteresisLevel, 'above'> {
    return this.#rungs[this.#height - 1] ?? this.#floor
  }

  /** Takes a reading. */
  climb(value: number): void {
    const harsh = this.#heightOf(value, 0)
    if (harsh >= this.#height) {
      // The first reading of all may begin above: then there is nothing to be patient about.
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

  /** Begins at the rung of a value, without patience. */
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
