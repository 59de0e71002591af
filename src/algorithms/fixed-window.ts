import { windowKernel } from './window.ts'

/**
 * A counter over windows that start at multiples of the period since the epoch. Cheapest of all; around a border
 * twice the count can pass within one period.
 */
export const fixedWindow = windowKernel(
  'fixed-window',
  (limit, moment) => moment - (moment % limit.periodMs),
  (limit, moment) => moment - (moment % limit.periodMs) + limit.periodMs,
)
