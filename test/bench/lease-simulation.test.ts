import { describe, expect, it } from 'vitest'
import { drawLeases } from '../../bench/lease-plot.ts'
import { simulateLeases, summariseLeases } from '../../bench/lease-simulation.ts'

describe('the simulation of nodes with leases', () => {
  it('stays within the bound, near one exact counter, with a fraction of the calls', async () => {
    const simulation = await simulateLeases({
      nodes: 5,
      perSecond: 2_000,
      seed: 3,
      phases: [
        { name: 'twice', seconds: 1, load: 2, skew: 0, crashes: 0 },
        { name: 'crash', seconds: 1, load: 0.9, skew: 0.5, crashes: 2 },
      ],
    })
    const { sent, admitted, exact, calls, mostOverLimit, bound } = summariseLeases(simulation)
    expect(sent).toBeGreaterThan(5_000)
    expect(mostOverLimit).toBeLessThanOrEqual(bound)
    expect(admitted).toBeGreaterThan(0.95 * exact)
    expect(admitted).toBeLessThanOrEqual(exact + bound)
    expect(calls).toBeLessThan(sent / 5)
    const plot = drawLeases(simulation)
    expect(plot.match(/<polyline/g)).toHaveLength(6)
    expect(plot).toContain('5 nodes share a limit of 2,000 messages a second')
    expect(plot).toContain('>crash<')
  })
})
