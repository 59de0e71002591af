import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ALGORITHM_NAMES, type AlgorithmName, toGrains } from '../../src/algorithms/limit-types.ts'
import { capacityOf, chooseCost, moveTime } from './histories.ts'
import { type Rule, startsBelowFull } from './model.ts'
import { anyMoves, anyRule, hold, limitOf, type State, take, walk } from './walk.ts'

const startsFull = (rule: Rule): boolean => !startsBelowFull(rule)

/** A quota that is asked about other days each time reads the calendar anew, which is slow. */
const runsOf = (algorithm: AlgorithmName): number => (algorithm === 'quota' ? 10 : 100)

describe('denied is free: a denied charge changes nothing', () => {
  it.each(ALGORITHM_NAMES)('%s', algorithm => {
    let denialCache = 0
    hold(fc.tuple(anyRule(algorithm), anyMoves(30)), ([start, moves]) => {
      walk(start, moves, ({ rule, limit, before, nowMs, cost, step }) => {
        if (step.allowed) return
        denialCache++
        if (before !== undefined) expect(step.state).toEqual(before)
        // A bucket that does not start full begins to fill when it is first seen, even by a denial.
        else if (startsFull(rule)) {
          const earlierMs = Math.max(0, nowMs - rule.periodMs)
          for (const ms of [earlierMs, nowMs, nowMs + 1]) {
            expect(take(limit, step.state, ms, cost)).toEqual(take(limit, undefined, ms, cost))
            expect(take(limit, step.state, ms, 1)).toEqual(take(limit, undefined, ms, 1))
          }
        }
      })
    })
    expect(denialCache).toBeGreaterThan(300)
  })
})

describe('waiting retryAfterMs is enough, one millisecond less is not', () => {
  it.each(ALGORITHM_NAMES)('%s', algorithm => {
    let waits = 0
    hold(fc.tuple(anyRule(algorithm), anyMoves(30)), ([start, moves]) => {
      walk(start, moves, ({ rule, limit, atMs, cost, step }) => {
        if (step.allowed) return expect(step.retryAfterMs).toBe(0)
        if (step.retryAfterMs === Number.POSITIVE_INFINITY) {
          const laterMs = atMs + step.resetMs
          expect(take(limit, step.state, laterMs, cost).allowed).toBe(false)
          return expect(cost).toBeGreaterThan(capacityOf(rule))
        }
        waits++
        expect(step.retryAfterMs).toBeGreaterThan(0)
        expect(take(limit, step.state, atMs + step.retryAfterMs, cost).allowed).toBe(true)
        const early = take(limit, step.state, atMs + step.retryAfterMs - 1, cost)
        expect(early.allowed).toBe(false)
        expect(early.retryAfterMs).toBe(1)
      })
    })
    expect(waits).toBeGreaterThan(200)
  })
})

describe('a state past expireInMs equals no state', () => {
  it.each(ALGORITHM_NAMES)('%s', algorithm => {
    hold(fc.tuple(anyRule(algorithm), anyMoves(20), anyMoves(8)), ([start, moves, more]) => {
      let state: State | undefined
      let expiredMs = 0
      walk(start, moves, ({ nowMs, step }) => {
        state = step.state
        expiredMs = nowMs + step.expireInMs
      })
      const { rule } = start
      if (!startsFull(rule)) {
        expect(expiredMs).toBe(Infinity)
        return
      }
      const limit = limitOf(rule)
      let kept = state
      let forgotten: State | undefined
      let nowMs = expiredMs
      for (const move of more) {
        const cost = chooseCost(move, rule)
        const whole = take(limit, kept, nowMs, cost)
        const fresh = take(limit, forgotten, nowMs, cost)
        expect({ ...fresh, state: [] }).toEqual({ ...whole, state: [] })
        kept = whole.state
        forgotten = fresh.state
        // Once expired, time may stand or go on; the clock's stumbles have a law of their own.
        nowMs = Math.max(nowMs, moveTime(move, nowMs, rule, whole))
      }
    })
  })
})

describe('a bucket that starts below full is full once it was, however long ago', () => {
  it('token-bucket', () => {
    let buckets = 0
    hold(fc.tuple(anyRule('token-bucket'), anyMoves(20), fc.nat(9_999)), ([start, moves, later]) => {
      if (startsFull(start.rule)) return
      buckets++
      walk(start, moves, ({ rule, limit, atMs, step }) => {
        const fullMs = atMs + step.resetMs
        for (const ms of [fullMs, fullMs + later, fullMs + later * rule.periodMs]) {
          expect(take(limit, step.state, ms, capacityOf(rule)).allowed).toBe(true)
        }
      })
    })
    expect(buckets).toBeGreaterThan(5)
  })
})

describe('a clock that stumbles back admits no more', () => {
  it.each(ALGORITHM_NAMES)('%s: before its last charge a key answers as at its last charge', algorithm => {
    hold(fc.tuple(anyRule(algorithm), anyMoves(20), fc.nat(9_999)), ([start, moves, back]) => {
      let lastMs: number | undefined
      walk(start, moves, ({ rule, limit, atMs, step }) => {
        if (step.allowed) lastMs = atMs
        if (lastMs === undefined) return
        const earlierMs = Math.max(0, lastMs - Math.ceil((back / 1000) * rule.periodMs))
        for (const cost of [0, 1, capacityOf(rule)]) {
          const stumbled = take(limit, step.state, earlierMs, cost)
          const steady = take(limit, step.state, lastMs, cost)
          expect({ ...stumbled, expireInMs: 0 }).toEqual({ ...steady, expireInMs: 0 })
          // The time to live is counted from what the clock shows, so the state lasts as long.
          expect(earlierMs + stumbled.expireInMs).toBeGreaterThanOrEqual(steady.expireInMs && lastMs)
        }
      })
    })
  })

  it.each(ALGORITHM_NAMES)(
    '%s: equal costs get the answers of a clock that stood still instead',
    algorithm => {
      hold(fc.tuple(anyRule(algorithm), anyMoves(30), fc.nat(9_999)), ([start, moves, share]) => {
        const cost = Math.max(1, Math.floor((share / 10_000) * capacityOf(start.rule)))
        const limit = limitOf(start.rule)
        let [stumbling, steady]: (State | undefined)[] = []
        let nowMs = start.startMs
        let latestMs = nowMs
        for (const move of moves) {
          const step = take(limit, stumbling, nowMs, cost)
          const still = take(limit, steady, latestMs, cost)
          expect(step.allowed).toBe(still.allowed)
          stumbling = step.state
          steady = still.state
          nowMs = moveTime(move, nowMs, start.rule, step)
          latestMs = Math.max(latestMs, nowMs)
        }
      })
    },
  )
})

describe('consume and refund is the identity, and a refund never lifts a key above whole', () => {
  it.each(ALGORITHM_NAMES)('%s', algorithm => {
    hold(
      fc.tuple(anyRule(algorithm), anyMoves(20), fc.nat(9_999)),
      ([start, moves, share]) => {
        walk(start, moves, ({ rule, limit, atMs, cost, step }) => {
          const { kernel } = limit
          const grown = Float64Array.from(step.state)
          const cells = kernel.growCells?.(grown) ?? grown
          const grains = toGrains(cost, limit)
          const before = ask(rule, cells, atMs, share)
          const look = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
          if (kernel.probe(cells, 0, atMs, grains, limit, look)) {
            kernel.charge(cells, 0, atMs, grains, limit)
            kernel.refund(cells, 0, atMs, grains, limit)
            expect(ask(rule, cells, atMs, share)).toEqual(before)
          }
          // Given back over and over, a key is whole, like one never seen, and no more than that.
          for (let times = 0; times < 3; times++) {
            kernel.refund(cells, 0, atMs, toGrains(capacityOf(rule) * 3, limit), limit)
          }
          const whole = ask({ ...rule, ...(rule.burst && { initial: rule.burst }) }, undefined, atMs, share)
          expect(ask(rule, cells, atMs, share)).toEqual(whole)
          expect(kernel.usedGrains(cells, 0, atMs, limit)).toBeGreaterThanOrEqual(0)
        })
      },
      runsOf(algorithm),
    )
  })

  /** What a key answers to several costs now and later, with nothing taken. */
  function ask(rule: Rule, cells: Float64Array | undefined, atMs: number, share: number): unknown[] {
    const limit = limitOf(rule)
    const state = cells && Array.from(cells)
    const some = Math.ceil((share / 10_000) * capacityOf(rule))
    return [0, 1, some, capacityOf(rule), capacityOf(rule) + 1].flatMap(cost =>
      [0, 1, Math.ceil(rule.periodMs / 3), rule.periodMs].map(laterMs => {
        const { allowed, remaining, retryAfterMs, resetMs } = take(limit, state, atMs + laterMs, cost)
        return { cost, laterMs, allowed, remaining, retryAfterMs, resetMs }
      }),
    )
  }
})

describe('peek is pure', () => {
  it.each(ALGORITHM_NAMES)('%s: a probe leaves every cell as it was', algorithm => {
    hold(
      fc.tuple(anyRule(algorithm), anyMoves(20)),
      ([start, moves]) => {
        walk(start, moves, ({ limit, nowMs, step }) => {
          const cells = Float64Array.from(step.state)
          const look = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
          for (const ms of [0, nowMs, nowMs + limit.periodMs, nowMs + 10 * limit.periodMs]) {
            for (const grains of [0, 1, limit.capacityGrains, limit.capacityGrains + 1]) {
              limit.kernel.probe(cells, 0, ms, grains, limit, look)
              limit.kernel.usedGrains(cells, 0, ms, limit)
              limit.kernel.fullAtMs(cells, 0, limit)
            }
          }
          expect(Array.from(cells)).toEqual(step.state)
        })
      },
      runsOf(algorithm),
    )
  })
})
