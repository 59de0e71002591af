/** Generator of pseudo-random numbers. The same seed gives the same sequence. */
export interface Random {
  /** Returns a number in [0, 1). */
  next(): number
  /** Returns a whole number from `least` to `most`, both included. */
  int(least: number, most: number): number
  /** Returns true with the given probability. */
  chance(probability: number): boolean
  /** Returns one of the items. Throws RangeError if there are none. */
  pick<T>(items: readonly T[]): T
  /** Returns a shuffled copy. */
  shuffle<T>(items: readonly T[]): T[]
}

/** Creates a generator (Mulberry32, 32 bits of state). Suitable for tests, not for secrets. */
export function random(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1))
  return {
    next,
    int,
    chance: probability => next() < probability,
    pick: items => {
      if (items.length === 0) throw new RangeError('pick: nothing to pick from')
      return items[int(0, items.length - 1)]!
    },
    shuffle: items => {
      const shuffled = [...items]
      for (let last = shuffled.length - 1; last > 0; last--) {
        const other = int(0, last)
        const held = shuffled[last]!
        shuffled[last] = shuffled[other]!
        shuffled[other] = held
      }
      return shuffled
    },
  }
}
