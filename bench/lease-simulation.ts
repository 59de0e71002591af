import { createLimit } from '../src/algorithms/index.ts'
import type { Limit } from '../src/algorithms/limit-types.ts'
import type { LeasedStore } from '../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../src/stores/memory/memory-store.ts'
import type { Verdict } from '../src/stores/store.ts'
import { charge, openFleet } from '../test/src/stores/leased/nodes.ts'
import { random } from '../test/support/random.ts'

/** Load of a phase. */
export interface Phase {
  readonly name: string
  readonly seconds: number
  /** Messages of all nodes together, as a multiple of the limit. */
  readonly load: number
  /** Part of the messages that one node gets; the others share the rest evenly. */
  readonly skew: number
  /** Nodes that crash when the phase begins, each replaced at once by an empty one. */
  readonly crashes: number
}

/** Numbers of a tenth of a second, as rates per second. */
export interface Sample {
  readonly atMs: number
  readonly sent: number
  readonly admitted: number
  /** Messages that one exact counter admits of the same ones. */
  readonly exact: number
  /** Calls of the shared store. */
  readonly calls: number
}

export interface Simulation {
  readonly nodes: number
  readonly limit: Limit
  readonly phases: readonly Phase[]
  readonly samples: readonly Sample[]
  /** Largest excess over burst + rate × span of any span. */
  readonly mostOverLimit: number
  /** Bound on that excess: nodes × lease. */
  readonly bound: number
}

const STEP_MS = 5
const SAMPLE_MS = 100
const TOLERANCE = 0.1

/** Runs nodes with leases over one shared counter on a virtual clock; the same seed gives the same numbers. */
export async function simulateLeases(options: {
  readonly nodes: number
  readonly perSecond: number
  readonly phases: readonly Phase[]
  readonly seed: number
}): Promise<Simulation> {
  const { nodes, perSecond, phases } = options
  const { next } = random(options.seed)
  const fleet = openFleet(0)
  const limit = createLimit({ name: 'all', algorithm: 'token-bucket', count: perSecond, periodMs: 1_000 })
  const open = (): LeasedStore => fleet.open({ nodes, tolerance: TOLERANCE })
  const stores = Array.from({ length: nodes }, open)
  const exactStore = new MemoryStore({ clock: fleet.clock })
  const samples: Sample[] = []
  const counts = { sent: 0, admitted: 0, exact: 0 }
  let callsBefore = 0
  // Kadane's algorithm: the worst span that ends now either continues, less its refill, or begins now.
  let [overLimit, mostOverLimit, admittedInStep] = [0, 0, 0]
  const count = (verdicts: readonly Verdict[]): void => {
    if (!verdicts[0]!.allowed) return
    counts.admitted++
    admittedInStep++
  }
  const send = (store: LeasedStore): void => {
    counts.sent++
    if (exactStore.decide([charge(limit)], { commit: true })[0]!.allowed) counts.exact++
    const answer = store.decide([charge(limit)], { commit: true })
    if (answer instanceof Promise) void answer.then(count)
    else count(answer)
  }
  for (const { seconds, load, skew, crashes } of phases) {
    for (let index = 0; index < crashes; index++) {
      fleet.crash(stores[index]!)
      stores[index] = open()
    }
    for (let step = 0; step < (seconds * 1_000) / STEP_MS; step++) {
      const messages = Math.floor((load * perSecond * STEP_MS) / 1_000 + next())
      for (let left = messages; left > 0; left--)
        send(stores[next() < skew ? nodes - 1 : Math.floor(next() * nodes)]!)
      await fleet.clock.advanceAsync(STEP_MS)
      overLimit = Math.max(0, overLimit - (perSecond * STEP_MS) / 1_000) + admittedInStep
      mostOverLimit = Math.max(mostOverLimit, overLimit - limit.capacity)
      admittedInStep = 0
      if (fleet.clock.now() % SAMPLE_MS !== 0) continue
      const calls = fleet.calls.decide + fleet.calls.refund
      const toRate = (each: number): number => (each * 1_000) / SAMPLE_MS
      samples.push({
        atMs: fleet.clock.now(),
        sent: toRate(counts.sent),
        admitted: toRate(counts.admitted),
        exact: toRate(counts.exact),
        calls: toRate(calls - callsBefore),
      })
      callsBefore = calls
      Object.assign(counts, { sent: 0, admitted: 0, exact: 0 })
    }
  }
  await Promise.all([...stores, exactStore].map(store => store.close()))
  const bound = nodes * Math.floor((TOLERANCE * limit.capacity) / nodes)
  return { nodes, limit, phases, samples, mostOverLimit, bound }
}

/** Sums of a simulation, for tables. */
export function summariseLeases({ samples, mostOverLimit, bound }: Simulation): {
  readonly sent: number
  readonly admitted: number
  readonly exact: number
  readonly calls: number
  readonly mostOverLimit: number
  readonly bound: number
} {
  const sum = (of: (sample: Sample) => number): number =>
    samples.reduce((total, sample) => total + (of(sample) * SAMPLE_MS) / 1_000, 0)
  return {
    sent: sum(({ sent }) => sent),
    admitted: sum(({ admitted }) => admitted),
    exact: sum(({ exact }) => exact),
    calls: sum(({ calls }) => calls),
    mostOverLimit,
    bound,
  }
}
