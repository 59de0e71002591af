/** Returns a generator of numbers in [0, 1) that gives the same row for the same seed, by Mulberry32. Never for secrets. */
export function seededRandom(seed: number): () => number {
  // A signed number: V8 would allocate an object for each unsigned one above 2^31.
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
