import { describe, expect, it } from 'vitest'
import { RefusalAggregator } from '../../../src/analytics/refusal-aggregator.ts'
import { RuleCounters } from '../../../src/analytics/rule-counters.ts'
import { SenderState } from '../../../src/chain/senders/sender-state.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { zipf } from './zipf.ts'

interface Counts {
  readonly runs: RefusalAggregator
  readonly counters: RuleCounters
  /** Refusals by client, without those in shadow. */
  readonly refused: Map<string, number>
  /** Number of counts by name. */
  settled(): number
}

function gathering(): Counts {
  const refused = new Map<string, number>()
  let settled = 0
  const runs = new RefusalAggregator(all => {
    for (const { client, times, isShadow } of all)
      if (!isShadow) refused.set(client, (refused.get(client) ?? 0) + times)
    settled += all.length
  })
  return { runs, counters: new RuleCounters('one', 1), refused, settled: () => settled }
}

function createSenderStates(senders: number): readonly SenderState[] {
  return Array.from({ length: senders }, (_, index) => new SenderState({ client: `client-${index}` }))
}

function sumOf(refused: ReadonlyMap<string, number>): number {
  return [...refused.values()].reduce((sum, times) => sum + times, 0)
}

describe('runs of refusals', () => {
  it('count every refusal of as many senders as fit, each once by name', () => {
    const { runs, counters, refused, settled } = gathering()
    const most = MAX_SIZES.pendingRefusalSeries - MAX_SIZES.refusalSeriesPerBatch
    const senderStates = createSenderStates(most)
    for (let round = 0; round < 10; round++)
      for (const senderState of senderStates) runs.recordRefusal(senderState, counters)
    expect(settled()).toBe(0)
    runs.countAllPending()
    expect(settled()).toBe(most)
    expect([...refused.values()].every(times => times === 10)).toBe(true)
  })

  it('become rarer as more senders are refused, and each counts for several refusals', () => {
    const { runs, counters, refused, settled } = gathering()
    const refusals = 1_000_000
    for (const senderState of createSenderStates(refusals)) runs.recordRefusal(senderState, counters)
    // The runs removed while every sender started one, and then as many for each doubling of the weight.
    const most = MAX_SIZES.analyticsNames * Math.log2(refusals / MAX_SIZES.analyticsNames)
    expect(settled()).toBeGreaterThan(most - 2 * MAX_SIZES.analyticsNames)
    expect(settled()).toBeLessThan(most + MAX_SIZES.refusalSeriesPerBatch)
    runs.countAllPending()
    expect(Math.abs(sumOf(refused) - refusals) / refusals).toBeLessThan(0.01)
    expect(Math.max(...refused.values())).toBeLessThanOrEqual(refusals / MAX_SIZES.analyticsNames)
  })

  it('start at random for senders that come in turn, not for the same ones', () => {
    const { runs, counters, refused } = gathering()
    const senderStates = createSenderStates(2 ** 16)
    for (let round = 0; round < 20; round++)
      for (const senderState of senderStates) runs.recordRefusal(senderState, counters)
    runs.countAllPending()
    expect(Math.abs(sumOf(refused) - 20 * senderStates.length) / (20 * senderStates.length)).toBeLessThan(
      0.01,
    )
    // Each group of a thousand neighbours gets as many as the others.
    const shares = Array.from({ length: 64 }, (_, part) => {
      const names = Array.from({ length: 1_024 }, (_, index) => `client-${1_024 * part + index}`)
      return names.reduce((sum, name) => sum + (refused.get(name) ?? 0), 0) / (20 * 1_024)
    })
    expect(Math.min(...shares.slice(16))).toBeGreaterThan(0.5)
    expect(Math.max(...shares.slice(16))).toBeLessThan(1.5)
  })

  it('count the most refused by Zipf’s law almost exactly, even among many senders', () => {
    const { runs, counters, refused } = gathering()
    const senderStates = createSenderStates(200_000)
    const truth = new Uint32Array(senderStates.length)
    const draw = zipf(senderStates.length, 5)
    const refusals = 1_000_000
    for (let count = 0; count < refusals; count++) {
      const index = draw()
      truth[index]!++
      runs.recordRefusal(senderStates[index]!, counters)
    }
    runs.countAllPending()
    const worst = [...refused].sort(([, a], [, b]) => b - a).slice(0, 10)
    const expected = [...truth.entries()].sort(([, a], [, b]) => b - a).slice(0, 10)
    expect(worst.map(([name]) => name)).toEqual(expected.map(([index]) => `client-${index}`))
    for (const [index, [, times]] of worst.entries()) {
      expect(Math.abs(times - expected[index]![1])).toBeLessThan(refusals / MAX_SIZES.analyticsNames)
    }
  })

  it('of rules in shadow make those of refusals no rarer', () => {
    const { runs, counters, refused } = gathering()
    for (const senderState of createSenderStates(200_000)) runs.recordRefusal(senderState, counters, true)
    const senderStates = createSenderStates(1_000)
    for (let round = 0; round < 5; round++) {
      for (const senderState of senderStates) {
        runs.recordRefusal(senderState, counters, true)
        runs.recordRefusal(senderState, counters)
      }
    }
    runs.countAllPending()
    expect([...refused.values()]).toEqual(senderStates.map(() => 5))
  })

  it('count every refusal again after the flood is over', () => {
    const { runs, counters, refused } = gathering()
    for (const senderState of createSenderStates(200_000)) runs.recordRefusal(senderState, counters)
    runs.resetExactCounts()
    refused.clear()
    const senderStates = createSenderStates(1_000)
    for (let round = 0; round < 3; round++)
      for (const senderState of senderStates) runs.recordRefusal(senderState, counters)
    runs.countAllPending()
    expect(senderStates.map(({ client }) => refused.get(client!))).toEqual(senderStates.map(() => 3))
  })
})
