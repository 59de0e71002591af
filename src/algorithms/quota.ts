import { windowKernel } from './window.ts'

/** Counter over calendar days, weeks, months or years of a time zone. A day may have 23 or 25 hours. */
export const quotaKernel = windowKernel(
  'quota',
  (limit, moment) => limit.calendar!.startOf(moment),
  (limit, moment) => limit.calendar!.endOf(moment),
)
