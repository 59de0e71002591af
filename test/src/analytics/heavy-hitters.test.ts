import { describe, expect, it } from 'vitest'
import { HeavyHitters } from '../../../src/analytics/heavy-hitters.ts'
import { zipf } from './zipf.ts'

function topOf(truth: ReadonlyMap<string, number>, most: number): { name: string; count: number }[] {
  return [...truth]
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, most)
    .map(([name, count]) => ({ name, count }))
}

describe('the most frequent names', () => {
  it('are exact while all fit', () => {
    const frequent = new HeavyHitters(4)
    for (const [name, times] of [
      ['b', 2],
      ['a', 2],
      ['c', 5],
      ['c', 1],
    ] as const)
      frequent.add(name, times)
    expect(frequent.top(3)).toEqual([
      { name: 'c', count: 6 },
      { name: 'a', count: 2 },
      { name: 'b', count: 2 },
    ])
    expect(frequent.error).toBe(0)
  })

  it.each([1, 2, 3])('never differ from their true count by more than the reported error (seed %i)', seed => {
    const frequent = new HeavyHitters(64)
    const truth = new Map<string, number>()
    const draw = zipf(5_000, seed)
    const total = 50_000
    for (let times = 0; times < total; times++) {
      const name = `n${draw()}`
      truth.set(name, (truth.get(name) ?? 0) + 1)
      frequent.add(name, 1)
    }
    expect(frequent.error).toBeGreaterThan(0)
    expect(frequent.error).toBeLessThanOrEqual((2 * total) / 64)
    const listed = new Map(frequent.top(64).map(({ name, count }) => [name, count]))
    for (const [name, count] of truth) {
      const found = listed.get(name)
      if (found === undefined) expect(count, name).toBeLessThanOrEqual(frequent.error)
      else
        expect(found - frequent.error <= count && count <= found, `${name}: ${found} of ${count}`).toBe(true)
    }
  })

  it('include recurring names among many new ones', () => {
    const frequent = new HeavyHitters(64)
    for (let index = 0; index < 100_000; index++) {
      frequent.add(`once-${index}`, 1)
      if (index % 10 === 0) frequent.add('steady', 1)
    }
    expect(frequent.top(1)[0]).toEqual({ name: 'steady', count: 10_000 })
    expect(frequent.record().least.length).toBeLessThanOrEqual(64)
  })

  it('can be merged from several nodes', () => {
    const truth = new Map<string, number>()
    const merged = new HeavyHitters(512)
    for (const seed of [1, 2, 3, 4]) {
      const node = new HeavyHitters(4_096)
      const draw = zipf(20_000, seed)
      for (let times = 0; times < 50_000; times++) {
        const name = `n${draw()}`
        truth.set(name, (truth.get(name) ?? 0) + 1)
        node.add(name, 1)
      }
      merged.merge(node.record())
    }
    const top = topOf(truth, 10)
    expect(merged.top(10).map(({ name }) => name)).toEqual(top.map(({ name }) => name))
    for (const [index, { count }] of merged.top(10).entries()) {
      expect(count - top[index]!.count).toBeLessThanOrEqual(merged.error)
      expect(count).toBeGreaterThanOrEqual(top[index]!.count)
    }
  })
})
