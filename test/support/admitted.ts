/** Units that a process admitted, each with its time. */
export type Admitted = readonly (readonly [ms: number, units: number])[]

/** Reads the lines `MS UNITS` that a process printed. */
export function readAdmitted(stdout: string): Admitted {
  return [...stdout.matchAll(/^(\d+) (\d+)$/gm)].map(([, ms, units]) => [Number(ms), Number(units)] as const)
}

/** Merges the admissions of all processes in order of time. Adds their total units, and the time from first to last. */
export function joinAdmitted(all: readonly Admitted[]): {
  readonly admitted: Admitted
  readonly total: number
  readonly spanMs: number
} {
  const admitted = all.flat().sort(([a], [b]) => a - b)
  const total = admitted.reduce((sum, [, units]) => sum + units, 0)
  return { admitted, total, spanMs: admitted.at(-1)![0] - admitted[0]![0] }
}

/** Returns the most units that any time span admits beyond its length in milliseconds times `perMs`. */
export function mostBeyondRate(admitted: Admitted, perMs: number): number {
  let most = 0
  let beyond = 0
  let lastMs = 0
  for (const [ms, units] of admitted) {
    beyond = Math.max(0, beyond - (ms - lastMs) * perMs) + units
    lastMs = ms
    most = Math.max(most, beyond)
  }
  return most
}
