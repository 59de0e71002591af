import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLimit, type LimitSpec } from '../../src/algorithms/index.ts'
import { ALGORITHM_NAMES } from '../../src/algorithms/limit-types.ts'
import type { Rule } from './model.ts'
import { calendarWindow } from './model-calendar.ts'
import { anyMoves, anyRule, hold, type State, take, walk } from './walk.ts'

interface Admitted {
  readonly atMs: number
  readonly cost: number
}

/** Most units admitted in any span of one period: [t, t + period). */
function mostInAnySpan(admitted: readonly Admitted[], periodMs: number): number {
  let most = 0
  let first = 0
  let sum = 0
  for (const { atMs, cost } of admitted) {
    sum += cost
    while (admitted[first]!.atMs <= atMs - periodMs) sum -= admitted[first++]!.cost
    most = Math.max(most, sum)
  }
  return most
}

/** What each algorithm promises at the most, in thousandths; `largest` is the largest single cost admitted. */
function boundOf(rule: Rule, largest: number): number {
  const count = rule.count * 1000
  switch (rule.algorithm) {
    case 'token-bucket':
      return (rule.burst ?? rule.count) * 1000 + count
    case 'leaky-bucket':
      // All but the last are spaced by their cost; the last may be a large one.
      return count + largest
    case 'sliding-log':
      return count
    case 'sliding-counter':
      return 2 * count - 1
    case 'fixed-window':
    case 'quota':
      return 2 * count
  }
}

describe('never over: in any span of one period no more passes than the documented bound', () => {
  it.each(ALGORITHM_NAMES)('%s', algorithm => {
    hold(fc.tuple(anyRule(algorithm), anyMoves(120)), ([start, moves]) => {
      const admitted: Admitted[] = []
      walk(start, moves, ({ atMs, cost, step }) => {
        if (step.allowed) admitted.push({ atMs, cost: Math.round(cost * 1000) })
      })
      const { rule } = start
      const largest = Math.max(0, ...admitted.map(({ cost }) => cost))
      if (rule.calendar) {
        const used = new Map<string, number>()
        for (const { atMs, cost } of admitted) {
          const window = calendarWindow(rule.calendar, atMs)
          used.set(window, (used.get(window) ?? 0) + cost)
        }
        for (const units of used.values()) expect(units).toBeLessThanOrEqual(rule.count * 1000)
      } else {
        expect(mostInAnySpan(admitted, rule.periodMs)).toBeLessThanOrEqual(boundOf(rule, largest))
      }
    })
  })

  const attack = (spec: Omit<LimitSpec, 'name'>, startMs: number): number => {
    const limit = createLimit({ name: 'rule', ...spec })
    const admitted: Admitted[] = []
    let state: State | undefined
    for (let nowMs = startMs; nowMs < startMs + 3000; nowMs++) {
      for (let step = take(limit, state, nowMs, 1); step.allowed; step = take(limit, state, nowMs, 1)) {
        admitted.push({ atMs: nowMs, cost: 1 })
        state = step.state
      }
    }
    return mostInAnySpan(admitted, 1000)
  }

  it.each([
    // One who takes all there is each millisecond, from the last one of a window on.
    [{ algorithm: 'token-bucket', burst: 100 }, 199],
    [{ algorithm: 'token-bucket', burst: 10 }, 109],
    [{ algorithm: 'leaky-bucket' }, 100],
    [{ algorithm: 'fixed-window' }, 200],
    [{ algorithm: 'sliding-log' }, 100],
    [{ algorithm: 'sliding-counter' }, 199],
  ] as const)('the worst case of %o at 100 per second is %i', (spec, most) => {
    expect(attack({ count: 100, periodMs: 1000, ...spec }, 1_699_999_999_999)).toBe(most)
  })
})

describe('a leaky bucket keeps its rate to the last message', () => {
  it.each([999, 1000, 300, 301, 2000, 7, 12_345])('at %i/s', rate => {
    const limit = createLimit({ name: 'rule', algorithm: 'leaky-bucket', count: rate, periodMs: 1000 })
    const startMs = 1_700_000_000_000
    let state: State | undefined
    let admitted = 0
    let freeRefused = 0
    for (let nowMs = startMs; nowMs < startMs + 10_000; nowMs++) {
      for (let step = take(limit, state, nowMs, 1); step.allowed; step = take(limit, state, nowMs, 1)) {
        if (!take(limit, step.state, nowMs, 0).allowed) freeRefused++
        admitted++
        state = step.state
      }
      // A cost of zero passes while the bucket is busy, and changes nothing.
      const free = take(limit, state, nowMs, 0)
      if (!free.allowed || free.retryAfterMs !== 0) freeRefused++
    }
    expect({ admitted, freeRefused }).toEqual({ admitted: 10 * rate, freeRefused: 0 })
  })
})

describe('nothing drifts over ten million steps', () => {
  it.each([
    [7, 1000],
    [300_001, 1000],
    [999_983, 60_000],
    [13, 997],
  ])('a token bucket of %i per %i ms admits exactly what flowed in', (count, periodMs) => {
    const limit = createLimit({ name: 'rule', algorithm: 'token-bucket', count, periodMs, burst: count })
    const { kernel } = limit
    const cells = new Float64Array(kernel.width)
    const look = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
    const startMs = 1_700_000_000_000
    kernel.initialize?.(cells, 0, startMs, limit)
    let nowMs = startMs
    let admitted = 0
    for (let steps = 0; steps < 10_000_000; steps++) {
      if (kernel.probe(cells, 0, nowMs, 1, limit, look)) {
        kernel.charge(cells, 0, nowMs, 1, limit)
        admitted++
      } else nowMs++
    }
    while (kernel.probe(cells, 0, nowMs, 1, limit, look)) {
      kernel.charge(cells, 0, nowMs, 1, limit)
      admitted++
    }
    // The bucket never was full again, so its burst and all that flowed in since were there to be taken.
    const flowedIn = (BigInt(nowMs - startMs) * BigInt(count)) / BigInt(periodMs)
    expect(nowMs).toBeGreaterThan(startMs + 1000)
    expect(BigInt(admitted)).toBe(BigInt(count) + flowedIn)
  })
})
