import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ALGORITHM_NAMES } from '../../src/algorithms/limit-types.ts'
import { Model, startsBelowFull } from './model.ts'
import { anyMoves, anyRule, hold, walk } from './walk.ts'

describe.each(ALGORITHM_NAMES)('%s', algorithm => {
  const histories = fc.tuple(anyRule(algorithm), anyMoves(40))

  it('answers like the slow exact model, number by number', () => {
    let allowed = 0
    let denied = 0
    hold(
      histories,
      ([start, moves]) => {
        const model = new Model()
        walk(start, moves, ({ rule, nowMs, cost, step }) => {
          const [expected] = model.decide([{ rule, key: '', cost }], nowMs, true)
          const { allowed: passed, remaining, retryAfterMs, resetMs } = step
          expect({ allowed: passed, remaining, retryAfterMs, resetMs }).toEqual(expected)
          if (passed) allowed++
          else denied++
        })
      },
      300,
    )
    // A generator that only refuses, or never does, would prove little.
    expect(allowed).toBeGreaterThan(500)
    expect(denied).toBeGreaterThan(500)
  })

  it('answers in whole numbers that are never negative, NaN or absent', () => {
    hold(histories, ([start, moves]) => {
      walk(start, moves, ({ rule, nowMs, atMs, step }) => {
        const { allowed, remaining, retryAfterMs, resetMs, expireInMs } = step
        for (const number of [remaining, resetMs]) {
          expect(Number.isSafeInteger(number) && number >= 0).toBe(true)
        }
        // A bucket that starts below full never equals one that was not seen.
        const never = startsBelowFull(rule)
        expect(never ? expireInMs === Infinity : Number.isSafeInteger(expireInMs)).toBe(true)
        expect(Number.isSafeInteger(retryAfterMs) || retryAfterMs === Number.POSITIVE_INFINITY).toBe(true)
        expect(allowed).toBe(retryAfterMs === 0)
        expect(remaining).toBeLessThanOrEqual(rule.burst ?? rule.count)
        // A key that is not whole has a time to live, and it lasts until the key is.
        if (resetMs > 0) expect(expireInMs).toBeGreaterThanOrEqual(atMs + resetMs - nowMs)
        expect(step.state.every(Number.isFinite)).toBe(true)
      })
    })
  })
})
