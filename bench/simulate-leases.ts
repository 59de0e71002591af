import { writeFileSync } from 'node:fs'
import { drawLeases } from './lease-plot.ts'
import { type Phase, simulateLeases, summariseLeases } from './lease-simulation.ts'

/** Simulates a hundred nodes, prints the sums and writes the plot of docs/scaling.md: npm run simulate. */
const FILE = 'docs/images/leases-100-nodes.svg'

export const PHASES: readonly Phase[] = [
  { name: 'half the limit', seconds: 4, load: 0.5, skew: 0, crashes: 0 },
  { name: 'twice the limit', seconds: 4, load: 2, skew: 0, crashes: 0 },
  { name: 'one node gets 80 %', seconds: 4, load: 0.9, skew: 0.8, crashes: 0 },
  { name: '20 nodes crash', seconds: 4, load: 0.9, skew: 0, crashes: 20 },
  { name: 'four times the limit', seconds: 4, load: 4, skew: 0, crashes: 0 },
]

const simulation = await simulateLeases({ nodes: 100, perSecond: 20_000, phases: PHASES, seed: 1 })
writeFileSync(FILE, drawLeases(simulation))
console.log(summariseLeases(simulation))
let from = 0
for (const { name, seconds } of PHASES) {
  const samples = simulation.samples.slice(from, from + seconds * 10)
  from += seconds * 10
  const { sent, admitted, exact, calls } = summariseLeases({ ...simulation, samples })
  console.log(name, { sent, admitted, exact, calls })
}
