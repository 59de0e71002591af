/** Units a process has let pass, and when. */
export type Admitted = readonly (readonly [ms: number, units: number])[]

/** What a process told line by line, as `MS UNITS`. */
export function readAdmitted(stdout: string): Admitted {
  return [...stdout.matchAll(/^(\d+) (\d+)$/gm)].map(([, ms, units]) => [Number(ms), Number(units)] as const)
}

/** What all processes let pass together: in the order of time, how much, within how long. */
export function joinAdmitted(all: readonly Admitted[]): {
  readonly admitted: Admitted
  readonly total: number
  readonly spanMs: number
} {
  const admitted = all.flat().sort(([a], [b]) => a - b)
  const total = admitted.reduce((sum, [, units]) => sum + units, 0)
  return { admitted, total, spanMs: admitted.at(-1)![0] - admitted[0]![0] }
}

/** The most units above `perMs` that any span holds. */
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
