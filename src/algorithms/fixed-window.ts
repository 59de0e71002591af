import { windowKernel } from './window.ts'

/**
 * Counter over windows at multiples of the period since the epoch. Cheapest algorithm. Around a window
 * border, twice the count can pass within one period.
 */
export const fixedWindowKernel = windowKernel(
  'fixed-window',
  (limit, moment) => moment - (moment % limit.periodMs),
  (limit, moment) => moment - (moment % limit.periodMs) + limit.periodMs,
)
