/** Interval between two lines. */
const EVERY_MS = 1_000

/** Returns a function that calls `write` at most once a second, with the number of calls left out since the last one. */
export function sampleLog<Fields>(
  write: (fields: Fields, suppressed: number) => void,
): (fields: Fields) => void {
  let loggedAtMs = Number.NEGATIVE_INFINITY
  let suppressed = 0
  return fields => {
    const nowMs = performance.now()
    if (nowMs - loggedAtMs < EVERY_MS) {
      suppressed++
      return
    }
    write(fields, suppressed)
    loggedAtMs = nowMs
    suppressed = 0
  }
}
