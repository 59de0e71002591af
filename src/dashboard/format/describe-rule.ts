import type { Rule } from '../api/types.ts'
import { formatDuration, formatUnits } from './format.ts'

const PERIODS = new Map([
  [1_000, 's'],
  [60_000, 'min'],
  [3_600_000, 'h'],
  [86_400_000, 'day'],
])

/** Returns the limit of a rule as a policy writes it: `10/s burst 50`. */
export function describeLimit({ count, periodMs, capacity, unit }: Rule): string {
  if (count === null) return 'unlimited'
  const amount = (units: number): string => formatUnits(units, unit)
  const rate = `${amount(count)}/${PERIODS.get(periodMs) ?? formatDuration(periodMs)}`
  return capacity === null || capacity === count ? rate : `${rate} burst ${amount(capacity)}`
}
