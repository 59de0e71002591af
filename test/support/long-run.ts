/** True in `npm run test:long`. */
export const IS_LONG_RUN = process.env.TOPICGATE_LONG === '1'

/** Returns `usual`, or `long` in `npm run test:long`. */
export function usualOrLong(usual: number, long: number): number {
  return IS_LONG_RUN ? long : usual
}
