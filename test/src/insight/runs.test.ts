import { describe, expect, it } from 'vitest'
import { BOUNDS } from '../../../src/bounds.ts'
import { Seat } from '../../../src/chain/seat.ts'
import { RuleTally } from '../../../src/insight/rule-tally.ts'
import { Runs } from '../../../src/insight/runs.ts'
import { zipf } from './zipf.ts'

interface Counts {
  readonly runs: Runs
  readonly tally: RuleTally
  readonly refused: Map<string, number>
  /** How often something was counted by name. */
  settled(): number
}

function gathering(): Counts {
  const refused = new Map<string, number>()
  let settled = 0
  const runs = new Runs(all => {
    for (const { client, times } of all) refused.set(client, (refused.get(client) ?? 0) + times)
    settled += all.length
  })
  return { runs, tally: new RuleTally('one', 1), refused, settled: () => settled }
}

function crowd(senders: number): readonly Seat[] {
  return Array.from({ length: senders }, (_, index) => new Seat({ client: `client-${index}` }))
}

function sumOf(refused: ReadonlyMap<string, number>): number {
  return [...refused.values()].reduce((sum, times) => sum + times, 0)
}

describe('runs of refusals', () => {
  it('count as many senders as have room to the last refusal, each once by name', () => {
    const { runs, tally, refused, settled } = gathering()
    const most = BOUNDS.pendingRuns - BOUNDS.runsCountedAtOnce
    const seats = crowd(most)
    for (let round = 0; round < 10; round++) for (const seat of seats) runs.gather(seat, tally)
    expect(settled()).toBe(0)
    runs.settleAll()
    expect(settled()).toBe(most)
    expect([...refused.values()].every(times => times === 10)).toBe(true)
  })

  it('of a crowd are begun by fewer and fewer, who stand for all', () => {
    const { runs, tally, refused, settled } = gathering()
    const refusals = 1_000_000
    for (const seat of crowd(refusals)) runs.gather(seat, tally)
    // All that were pushed out when each began one, and then so many for each time there were twice as many.
    const most = BOUNDS.insightNames * Math.log2(refusals / BOUNDS.insightNames)
    expect(settled()).toBeGreaterThan(most - 2 * BOUNDS.insightNames)
    expect(settled()).toBeLessThan(most + BOUNDS.runsCountedAtOnce)
    runs.settleAll()
    expect(Math.abs(sumOf(refused) - refusals) / refusals).toBeLessThan(0.01)
    expect(Math.max(...refused.values())).toBeLessThanOrEqual(refusals / BOUNDS.insightNames)
  })

  it('of senders that come in turn are begun by chance, not by the same ones', () => {
    const { runs, tally, refused } = gathering()
    const seats = crowd(2 ** 16)
    for (let round = 0; round < 20; round++) for (const seat of seats) runs.gather(seat, tally)
    runs.settleAll()
    expect(Math.abs(sumOf(refused) - 20 * seats.length) / (20 * seats.length)).toBeLessThan(0.01)
    // Of each thousand of neighbours as many as of the others.
    const shares = Array.from({ length: 64 }, (_, part) => {
      const names = Array.from({ length: 1_024 }, (_, index) => `client-${1_024 * part + index}`)
      return names.reduce((sum, name) => sum + (refused.get(name) ?? 0), 0) / (20 * 1_024)
    })
    expect(Math.min(...shares.slice(16))).toBeGreaterThan(0.5)
    expect(Math.max(...shares.slice(16))).toBeLessThan(1.5)
  })

  it('count the worst by Zipf’s law almost to the last refusal, in a crowd too', () => {
    const { runs, tally, refused } = gathering()
    const seats = crowd(200_000)
    const truth = new Uint32Array(seats.length)
    const draw = zipf(seats.length, 5)
    const refusals = 1_000_000
    for (let count = 0; count < refusals; count++) {
      const index = draw()
      truth[index]!++
      runs.gather(seats[index]!, tally)
    }
    runs.settleAll()
    const worst = [...refused].sort(([, a], [, b]) => b - a).slice(0, 10)
    const expected = [...truth.entries()].sort(([, a], [, b]) => b - a).slice(0, 10)
    expect(worst.map(([name]) => name)).toEqual(expected.map(([index]) => `client-${index}`))
    for (const [place, [, times]] of worst.entries()) {
      expect(Math.abs(times - expected[place]![1])).toBeLessThan(refusals / BOUNDS.insightNames)
    }
  })

  it('of a crowd that has gone leave every refusal counted again', () => {
    const { runs, tally, refused } = gathering()
    for (const seat of crowd(200_000)) runs.gather(seat, tally)
    runs.renew()
    refused.clear()
    const seats = crowd(1_000)
    for (let round = 0; round < 3; round++) for (const seat of seats) runs.gather(seat, tally)
    runs.settleAll()
    expect(seats.map(({ client }) => refused.get(client!))).toEqual(seats.map(() => 3))
  })
})
