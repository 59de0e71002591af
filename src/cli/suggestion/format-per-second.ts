/** Formats a rate for readers: `2.1/s`, `6/min`, `12/h` or `3/day`, with at most three digits. */
export function formatPerSecond(perSecond: number): string {
  const [unit, seconds] =
    perSecond >= 1
      ? ['s', 1]
      : perSecond >= 1 / 60
        ? ['min', 60]
        : perSecond >= 1 / 3_600
          ? ['h', 3_600]
          : ['day', 86_400]
  return `${Number((perSecond * Number(seconds)).toPrecision(3))}/${unit}`
}
