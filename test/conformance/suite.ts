import type { AlgorithmName } from '../../src/algorithms/limit.ts'
import type { ModelCharge, Rule } from '../laws/model.ts'
import type { Bench } from './harness.ts'

export interface ConformanceOptions {
  /** Histories of each kind held against the model. Default: 60. */
  readonly histories?: number | undefined
  /**
   * For stores whose state expires by a clock of their own: a period no test run outlasts. What needs the store to
   * expire by the given clock is then left out. Default: 1.
   */
  readonly shortestPeriodMs?: number | undefined
  /** Characters of the longest key the store must tell apart. Default: 60,000. */
  readonly longestKey?: number | undefined
}

/** What the parts of the suite are given. Algorithms are known once the store is open: ask inside a test. */
export interface Suite {
  /** Registers a test, and counts that it ran. */
  readonly tell: (title: string, test: () => Promise<void>) => void
  readonly bench: () => Bench
  /** A store of its own, without state, on the same clock. */
  readonly openAlone: () => Promise<Bench>
  /** Those the store runs. */
  readonly algorithms: () => readonly AlgorithmName[]
  /** A rule no other test has used: `count` a minute, of a quota a day. */
  readonly ruleOf: (algorithm: AlgorithmName, count?: number) => Rule
  readonly options: Required<ConformanceOptions>
}

/** One unit of a rule's only key, or what else is said. */
export function one(rule: Rule, more: Partial<ModelCharge> = {}): ModelCharge {
  return { rule, key: '', cost: 1, ...more }
}
