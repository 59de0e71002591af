import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ALGORITHM_NAMES, type AlgorithmName } from '../../src/algorithms/limit-types.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { Store } from '../../src/stores/store.ts'
import type { Rule } from '../laws/model.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { playHistory, type TestStore } from './harness.ts'
import { describeKeys } from './key-suite.ts'
import { describeState } from './state-suite.ts'
import { describeSteps } from './step-suite.ts'
import type { ConformanceOptions, Suite } from './suite.ts'

export type { ConformanceOptions } from './suite.ts'

/** Names of the tests that ran, by store. */
const ran = new Map<string, number>()

/** Timeout of a test; a store in another process may have to share its machine. */
const LONGEST_TEST_MS = 120_000

const DAY = { periodMs: 86_400_000, calendar: { unit: 'day', zone: 'UTC' } } as const

/**
 * Registers the tests that every store passes: equal histories get equal decisions, number by number, as computed by
 * the slow exact model. `openStore` returns an empty store that uses the given clock. Call it from a vitest test
 * file.
 */
export function storeConformance(
  name: string,
  openStore: (clock: Clock) => MaybePromise<Store>,
  { histories = 60, shortestPeriodMs = 1, longestKey = 60_000 }: ConformanceOptions = {},
): void {
  const options = { histories, shortestPeriodMs, longestKey }

  describe(`the ${name} store`, () => {
    const clock = new FakeClock()
    let testStore: TestStore
    let algorithms: AlgorithmName[] = []
    let names = 0
    beforeAll(async () => {
      const store = await openStore(clock)
      testStore = { store, clock }
      algorithms = ALGORITHM_NAMES.filter(algorithm => store.algorithms.has(algorithm))
    })
    afterAll(() => testStore?.store.close())

    const ruleOf = (algorithm: AlgorithmName, count = 3): Rule => {
      names++
      const period = algorithm === 'quota' ? DAY : { periodMs: 60_000 }
      return { name: `rule ${names}`, algorithm, count, ...period }
    }
    const suite: Suite = {
      testStore: () => testStore,
      openSeparate: async () => ({ store: await openStore(clock), clock }),
      algorithms: () => algorithms,
      ruleOf,
      options,
      addTest: (title, test) =>
        it(title, { timeout: LONGEST_TEST_MS }, async () => {
          await test()
          ran.set(name, (ran.get(name) ?? 0) + 1)
        }),
    }
    const { addTest } = suite

    addTest('runs at least one algorithm and only known ones, and is in good health', async () => {
      expect(algorithms.length).toBeGreaterThan(0)
      expect(algorithms.length).toBe(testStore.store.algorithms.size)
      expect((await testStore.store.health()).ok).toBe(true)
    })

    addTest('decides long histories like the model, number by number', async () => {
      for (let seed = 1; seed <= histories; seed++) {
        await playHistory(testStore, seed, { algorithms, steps: 60, shortestPeriodMs, clockStepsBack: false })
      }
    })

    addTest('decides like the model while the clock also steps back', async () => {
      for (let seed = 10_001; seed <= 10_000 + histories; seed++) {
        await playHistory(testStore, seed, { algorithms, steps: 60, shortestPeriodMs, clockStepsBack: true })
      }
    })

    describeSteps(suite)
    describeState(suite)
    describeKeys(suite)

    it('ran all of its tests', ({ task }) => {
      const registered = task.suite?.tasks.length ?? 0
      expect(registered).toBeGreaterThan(20)
      expect(ran.get(name)).toBe(registered - 1)
    })
  })
}
