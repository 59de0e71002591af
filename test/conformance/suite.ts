import type { AlgorithmName } from '../../src/algorithms/limit-types.ts'
import type { ModelCharge, Rule } from '../laws/model.ts'
import type { TestStore } from './harness.ts'

export interface ConformanceOptions {
  /** Histories of each kind that are compared with the model. Default: 60. */
  readonly histories?: number | undefined
  /**
   * Shortest period in the tests. For stores whose state expires by their own clock: longer than a test run; tests that need
   * the given clock are then skipped.
   * Default: 1.
   */
  readonly shortestPeriodMs?: number | undefined
  /** Length of the longest key that the store must distinguish. Default: 60,000. */
  readonly longestKey?: number | undefined
}

/** Context of the parts of the suite. Algorithms are known once the store is open, so read them inside a test. */
export interface Suite {
  /** Registers a test and records that it ran. */
  readonly addTest: (title: string, test: () => Promise<void>) => void
  readonly testStore: () => TestStore
  /** Opens an empty, separate store on the same clock. */
  readonly openSeparate: () => Promise<TestStore>
  /** Algorithms that the store supports. */
  readonly algorithms: () => readonly AlgorithmName[]
  /** Returns the limit of an unused rule: `count` a minute; for quotas, a day. */
  readonly ruleOf: (algorithm: AlgorithmName, count?: number) => Rule
  readonly options: Required<ConformanceOptions>
}

/** Returns one unit of a rule's only key, unless specified otherwise. */
export function one(rule: Rule, more: Partial<ModelCharge> = {}): ModelCharge {
  return { rule, key: '', cost: 1, ...more }
}
