import { createLimit } from './create-limit.ts'
import { algorithmOf, type Limit, startsBelowFull } from './limit-types.ts'

/** Returns a limit with other numbers. Throws PolicyError if they are invalid. */
export function remakeLimit(limit: Limit, change: Partial<Parameters<typeof createLimit>[0]>): Limit {
  const { calendar } = limit
  return createLimit({
    name: limit.name,
    algorithm: algorithmOf(limit),
    count: limit.count,
    periodMs: limit.periodMs,
    fractional: limit.scale === 1000,
    burst: hasBurst(limit) ? limit.capacity : undefined,
    initial: startsBelowFull(limit) ? limit.initialGrains / limit.scale : undefined,
    calendar,
    ...change,
  })
}

/** Returns a limit that counts in thousandths. Throws PolicyError if it is too large for that. */
export function convertLimitToThousandths(limit: Limit): Limit {
  return limit.scale === 1000 ? limit : remakeLimit(limit, { fractional: true })
}

/**
 * Returns a limit with rate and burst multiplied by thousandths, rounded down, at least 1. Whole thousandths,
 * because 10 × 1.1 is 11.000000000000002. Throws PolicyError if it is too large to be counted exactly.
 */
export function multiplyLimit(
  limit: Limit,
  thousandths: number,
  change: Parameters<typeof remakeLimit>[1] = {},
): Limit {
  const times = (units: number): number => Math.max(1, Math.floor((units * thousandths) / 1000))
  const burst = times(limit.capacity)
  return remakeLimit(limit, {
    count: times(limit.count),
    burst: hasBurst(limit) ? burst : undefined,
    initial: startsBelowFull(limit) ? Math.min(burst, times(limit.initialGrains / limit.scale)) : undefined,
    ...change,
  })
}

/** Returns true if a limit has a burst apart from its count. */
export function hasBurst({ algorithm, custom }: Limit): boolean {
  return custom !== undefined || algorithm === 'token-bucket'
}
