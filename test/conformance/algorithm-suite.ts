import { describe, expect, it } from 'vitest'
import type { CustomAlgorithm, LimitNumbers } from '../../src/algorithms/custom-algorithm-types.ts'
import { checkedStep } from '../../src/algorithms/custom-kernel.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import type { Store } from '../../src/stores/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { random } from '../support/random.ts'
import { playCustomHistory } from './algorithm-history.ts'
import {
  answersOf,
  generateTrials,
  type Trial,
  walkForward,
  walkWithClockStepsBack,
} from './algorithm-walk.ts'

export interface AlgorithmOptions {
  /** Histories of each kind. Default: 40. */
  readonly histories?: number | undefined
  /** Limits to test with. Default: some awkward ones. */
  readonly trials?: readonly Trial[] | undefined
  /** Stores that must answer as the step does. Default: memory. */
  readonly stores?: Readonly<Record<string, (clock: Clock) => MaybePromise<Store>>> | undefined
  /** Maximum units that any span of one period may admit, if the algorithm guarantees one. */
  readonly mostPerPeriod?: ((limit: LimitNumbers) => number) | undefined
  /**
   * Shortest period in the tests. For stores whose state expires by their own clock: longer than a test run.
   * Default: 1.
   */
  readonly shortestPeriodMs?: number | undefined
}

/**
 * Registers the tests that a custom algorithm should pass: the laws of the built-in ones, if they apply to any
 * algorithm, and equal answers from each store and its step. Call it from a vitest test file.
 */
export function algorithmConformance(algorithm: CustomAlgorithm, options: AlgorithmOptions = {}): void {
  const { histories = 40, shortestPeriodMs = 1, trials, mostPerPeriod } = options
  const stores: NonNullable<AlgorithmOptions['stores']> = options.stores ?? {
    memory: clock => new MemoryStore({ clock }),
  }
  const each = (): Iterable<[seed: number, trial: Trial]> =>
    generateTrials(histories, trials, shortestPeriodMs)

  describe(`the algorithm ${algorithm.name}`, () => {
    it('is pure: equal input gives equal output, and the given state is not modified', () => {
      for (const [seed, trial] of each()) {
        walkWithClockStepsBack(algorithm, seed, trial, ({ before, nowMs, cost, limit, step }) => {
          const frozen = before && Object.freeze([...before])
          expect(checkedStep(algorithm, frozen, nowMs, cost, limit)).toEqual(step)
        })
      }
    })

    it('waiting retryAfterMs is enough, one millisecond less is not', () => {
      let waits = 0
      for (const [seed, trial] of each()) {
        walkForward(algorithm, seed, trial, ({ before, nowMs, cost, limit, step }) => {
          const at = (ms: number): boolean => checkedStep(algorithm, before, ms, cost, limit).allowed
          if (step.allowed) return
          if (step.retryAfterMs === Infinity) return expect(at(nowMs + step.resetMs)).toBe(false)
          waits++
          expect(at(nowMs + step.retryAfterMs), `seed ${seed}: after ${step.retryAfterMs} ms`).toBe(true)
          expect(at(nowMs + step.retryAfterMs - 1), `seed ${seed}: 1 ms before it`).toBe(false)
        })
      }
      expect(waits, 'nothing was ever refused for a while').toBeGreaterThan(histories)
    })

    it('a state past expireInMs equals no state', () => {
      for (const [seed, trial] of each()) {
        walkForward(algorithm, seed, trial, ({ nowMs, limit, step }) => {
          if (!step.allowed) return
          for (const laterMs of [0, 1, limit.periodMs]) {
            const ms = nowMs + step.expireInMs + laterMs
            const kept = answersOf(algorithm, step.state, ms, limit)
            expect(kept, `seed ${seed}`).toEqual(answersOf(algorithm, undefined, ms, limit))
          }
        })
      }
    })

    it('a clock that steps back admits no more', () => {
      for (const [seed, trial] of each()) {
        const cost = random(seed).int(1, trial.burst ?? trial.count)
        let admittedSoFar = 0
        const admitted: number[] = []
        const moments = walkWithClockStepsBack(
          algorithm,
          seed,
          trial,
          ({ step }) => {
            if (step.allowed) admittedSoFar++
            admitted.push(admittedSoFar)
          },
          cost,
        )
        let admittedInOrder = 0
        let latestMs = 0
        walkForward(
          algorithm,
          seed,
          trial,
          ({ step }) => {
            if (step.allowed) admittedInOrder++
            expect(admitted.shift(), `seed ${seed}`).toBeLessThanOrEqual(admittedInOrder)
          },
          { cost, moments: moments.map(ms => (latestMs = Math.max(ms, latestMs))) },
        )
      }
    })

    if (algorithm.refund) {
      it('consume and refund is the identity, and a refund never raises a key above full', () => {
        for (const [seed, trial] of each()) {
          walkForward(algorithm, seed, trial, ({ before, nowMs, cost, limit, step }) => {
            if (!step.allowed || step.state.length === 0) return
            const plain = answersOf(algorithm, before, nowMs, limit)
            const refund = (units: number, state = step.state): readonly number[] =>
              algorithm.refund?.([...state], nowMs, units, limit) ?? state
            const back = answersOf(algorithm, refund(cost), nowMs, limit)
            expect(
              back.map(({ allowed, remaining }) => [allowed, remaining]),
              `seed ${seed}`,
            ).toEqual(plain.map(({ allowed, remaining }) => [allowed, remaining]))
            const most = refund(3 * limit.capacity, refund(3 * limit.capacity))
            const whole = answersOf(algorithm, undefined, nowMs, limit)
            answersOf(algorithm, most, nowMs, limit).forEach(({ allowed, remaining }, index) => {
              expect(remaining).toBeLessThanOrEqual(whole[index]!.remaining)
              if (allowed) expect(whole[index]!.allowed).toBe(true)
            })
          })
        }
      })
    }

    if (mostPerPeriod) {
      it('never over: no span of one period admits more than the guarantee', () => {
        for (const [seed, trial] of each()) {
          const admitted: { atMs: number; cost: number }[] = []
          walkForward(algorithm, seed, trial, ({ nowMs, cost, limit, step }) => {
            if (!step.allowed) return
            admitted.push({ atMs: nowMs, cost })
            const inSpan = admitted.filter(({ atMs }) => atMs > nowMs - limit.periodMs)
            const sum = inSpan.reduce((total, each) => total + Math.round(each.cost * 1000), 0) / 1000
            expect(sum, `seed ${seed}`).toBeLessThanOrEqual(mostPerPeriod(limit))
          })
        }
      })
    }

    it.each(Object.keys(stores))('the %s store gives the same numbers as its step', async name => {
      const clock = new FakeClock()
      const store = await stores[name]!(clock)
      for (const [seed, trial] of each()) {
        await playCustomHistory(algorithm, { store, clock }, seed, trial)
      }
      await store.close()
    })
  })
}
