import { random } from '../../support/random.ts'

/** Returns names by Zipf's law: the k-th occurs 1 ÷ k as often. */
export function zipf(names: number, seed: number): () => number {
  const sums = new Float64Array(names)
  let sum = 0
  for (let index = 0; index < names; index++) {
    sum += 1 / (index + 1)
    sums[index] = sum
  }
  const { next } = random(seed)
  return () => {
    const wanted = next() * sum
    let [low, high] = [0, names - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle]! < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}
