import type { SendPattern } from './fleet-format.ts'

const DAY_MS = 86_400_000

/** Returns the milliseconds, also fractions, from a message of a device at `atMs` since the epoch to its next one. */
export type NextInterval = (atMs: number) => number

/** Creates the intervals of one device; `random` is its own. Without a pattern it sends nothing. */
export function createIntervals(pattern: SendPattern | undefined, random: () => number): NextInterval {
  if (pattern === undefined) return () => Infinity
  if ('every' in pattern) {
    const { every, jitter = 0 } = pattern
    return () => every * (1 + jitter * (2 * random() - 1))
  }
  if ('flood' in pattern) return () => 1 / pattern.flood
  if ('poisson' in pattern) return () => exponential(random) / pattern.poisson
  const { low, high, peak } = pattern.diurnal
  return atMs => nextOfDay(atMs, random, { low, high, peak })
}

/** Returns a random number with the mean 1, as between the events of a Poisson process. */
function exponential(random: () => number): number {
  return -Math.log(1 - random())
}

/**
 * Returns the interval to the next event of a Poisson process whose rate is a cosine over the day, by thinning (Lewis and
 * Shedler 1979): candidates at the highest rate, each accepted with the share of the rate at its time.
 */
function nextOfDay(
  atMs: number,
  random: () => number,
  { low, high, peak }: { readonly low: number; readonly high: number; readonly peak: number },
): number {
  const most = Math.max(low, high)
  let next = atMs
  do {
    next += exponential(random) / most
  } while (random() * most > rateAt(next))
  return next - atMs

  function rateAt(ms: number): number {
    const phase = (2 * Math.PI * (ms - peak)) / DAY_MS
    return low + ((high - low) * (1 + Math.cos(phase))) / 2
  }
}
