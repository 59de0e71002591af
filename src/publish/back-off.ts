import { policyError } from '../core/errors.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'

export interface BackOffOptions {
  /** The first wait at the longest. Default: 1,000. */
  readonly fromMs?: number | undefined
  /** The longest of all. Default: 60,000. */
  readonly toMs?: number | undefined
  /** Of the generator of chance; the same seed gives the same waits. Default: by chance. */
  readonly seed?: number | undefined
}

const OPTIONS: OptionNames<BackOffOptions> = { fromMs: true, toMs: true, seed: true }

/**
 * Waits before one attempt after another: each twice as long at the most as the one before, and by chance between half of
 * that and all, so that those who were cut off together do not come back together. `reset` begins anew.
 */
export class BackOff {
  readonly #fromMs: number
  readonly #toMs: number
  #state: number
  #attempt = 0

  /** Throws PolicyError for a time that cannot be meant. */
  constructor(options: BackOffOptions = {}) {
    checkOptionNames(options, OPTIONS, 'backOff')
    const { fromMs = 1_000, toMs = 60_000, seed = Math.floor(Math.random() * 2 ** 32) } = options
    if (!(fromMs >= 1 && toMs >= fromMs && toMs < Infinity))
      throw policyError(
        'backOff',
        `from ${fromMs} ms to ${toMs} ms is no span`,
        'write fromMs: 1000, toMs: 60000',
      )
    this.#fromMs = fromMs
    this.#toMs = toMs
    this.#state = seed >>> 0
  }

  /** The next wait, in whole milliseconds. */
  nextMs(): number {
    const mostMs = Math.min(this.#toMs, this.#fromMs * 2 ** Math.min(this.#attempt++, 32))
    return Math.max(1, Math.round(mostMs / 2 + (mostMs / 2) * this.#chance()))
  }

  reset(): void {
    this.#attempt = 0
  }

  /** Mulberry32, in [0, 1). */
  #chance(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
