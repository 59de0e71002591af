import { describe, expect, it } from 'vitest'
import {
  combineRates,
  keepCounters,
  keepCounts,
  pickStats,
  sumFamilies,
  sumStats,
} from '../../../../src/cli/workers/worker-totals.ts'
import type { MetricFamily } from '../../../../src/index.ts'

function family(
  name: string,
  type: 'counter' | 'gauge',
  values: Readonly<Record<string, number>>,
): MetricFamily {
  const samples = Object.entries(values).map(([label, value]) => ({ labels: { label }, value }))
  return { name, help: '', type, samples }
}

describe('totals of workers', () => {
  it('sum up metrics by name and labels', () => {
    const [first, second] = [
      family('total', 'counter', { a: 1, b: 2 }),
      family('total', 'counter', { b: 3, c: 4 }),
    ]
    expect(sumFamilies([[first], [second]])).toEqual([family('total', 'counter', { a: 1, b: 5, c: 4 })])
  })

  it('show something as healthy if it is so for all workers', () => {
    const [up, down] = [
      family('x_healthy', 'gauge', { a: 1, b: 1 }),
      family('x_healthy', 'gauge', { a: 0, b: 1 }),
    ]
    expect(sumFamilies([[up], [down]])).toEqual([family('x_healthy', 'gauge', { a: 0, b: 1 })])
  })

  it('keep the counts of ended workers, but not their connections', () => {
    const [counter, gauge] = [family('total', 'counter', { a: 1 }), family('connections', 'gauge', { a: 1 })]
    expect(keepCounters([counter, gauge])).toEqual([counter])
    const ended = pickStats({ connections: 3, held: 2, overflowed: 5 })
    const running = pickStats({ connections: 1, overflowed: 1 })
    expect(sumStats([keepCounts(ended), running])).toMatchObject({ connections: 1, held: 0, overflowed: 6 })
  })

  it('combine the busiest senders', () => {
    const senders = [
      { name: 'client:a', count: 5 },
      { name: 'client:b', count: 3 },
    ]
    const other = [{ name: 'client:b', count: 4 }]
    const combined = combineRates([
      { measuredMs: 1_000, error: 0, senders },
      { measuredMs: 1_010, error: 0, senders: other },
    ])
    expect(combined).toEqual({
      measuredMs: 1_010,
      error: 0,
      senders: [
        { name: 'client:b', count: 7 },
        { name: 'client:a', count: 5 },
      ],
    })
  })
})
