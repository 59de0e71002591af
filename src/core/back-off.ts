import { policyError } from './errors.ts'
import { checkOptionNames, type KnownOptions } from './option-names.ts'
import { seededRandom } from './seeded-random.ts'

export interface BackOffOptions {
  /** Maximum of the first wait. Default: 1,000. */
  readonly fromMs?: number | undefined
  /** Maximum of all waits. Default: 60,000. */
  readonly toMs?: number | undefined
  /** Seed of the random generator. The same seed gives the same waits. Default: random. */
  readonly seed?: number | undefined
}

const OPTIONS: KnownOptions<BackOffOptions> = { fromMs: true, toMs: true, seed: true }

/**
 * Exponential back-off with random waits: each maximum is twice the one before, and each wait is between half of it and
 * all of it. Why: processes that failed together must not retry together. `reset` starts again.
 */
export class BackOff {
  readonly #fromMs: number
  readonly #toMs: number
  readonly #random: () => number
  #attempt = 0

  /** `random` returns a number in [0, 1). Throws PolicyError for an invalid time. */
  constructor(
    options: BackOffOptions = {},
    random = options.seed === undefined ? Math.random : seededRandom(options.seed),
  ) {
    checkOptionNames(options, OPTIONS, 'backOff')
    const { fromMs = 1_000, toMs = 60_000 } = options
    if (!(fromMs >= 1 && toMs >= fromMs && toMs < Infinity))
      throw policyError(
        'backOff',
        `from ${fromMs} ms to ${toMs} ms is not a range`,
        'write fromMs: 1000, toMs: 60000',
      )
    this.#fromMs = fromMs
    this.#toMs = toMs
    this.#random = random
  }

  /** Returns the next wait in whole milliseconds. */
  nextMs(): number {
    const maxMs = Math.min(this.#toMs, this.#fromMs * 2 ** Math.min(this.#attempt++, 32))
    return Math.max(1, Math.round(maxMs / 2 + (maxMs / 2) * this.#random()))
  }

  reset(): void {
    this.#attempt = 0
  }
}
