/** Returns whole milliseconds for JSON, which has no Infinity: null stands for never. */
export function millisOrNull(ms: number): number | null {
  return Number.isFinite(ms) ? ms : null
}
