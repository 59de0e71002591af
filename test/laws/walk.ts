import fc from 'fast-check'
import { createLimit, type Limit, type StepResult, toAlgorithm } from '../../src/algorithms/index.ts'
import type { AlgorithmName } from '../../src/algorithms/limit-types.ts'
import { random } from '../support/random.ts'
import { COST_MOVES, chooseCost, type Move, moveTime, rollRule, TIME_MOVES } from './histories.ts'
import { type Rule, startsBelowFull } from './model.ts'

export type State = readonly number[]

/** One step of a fast algorithm inside a history. */
export interface Stride {
  readonly rule: Rule
  readonly limit: Limit
  readonly before: State | undefined
  readonly nowMs: number
  /** The moment the limit lives in: now, or its last charge where the clock stumbled back. */
  readonly atMs: number
  readonly cost: number
  readonly step: StepResult<State>
}

const limits = new Map<string, Limit>()

/** The limit of a rule, made once: reading a zone's calendar for the first time is slow. */
export function limitOf(rule: Rule): Limit {
  const id = JSON.stringify(rule)
  const limit = limits.get(id) ?? createLimit(rule)
  limits.set(id, limit)
  return limit
}

/** The pure step of a limit. */
export function take(limit: Limit, state: State | undefined, nowMs: number, cost: number): StepResult<State> {
  return toAlgorithm(limit.kernel).step(state, nowMs, cost, limit)
}

/** Walks one key of one rule through a history, showing each step to `visit`. */
export function walk(
  { rule, startMs }: { readonly rule: Rule; readonly startMs: number },
  moves: readonly Move[],
  visit: (stride: Stride) => void,
): void {
  const limit = limitOf(rule)
  let state: State | undefined
  let nowMs = startMs
  let lastMs = 0
  let last: StepResult<State> | undefined
  for (const move of moves) {
    nowMs = moveTime(move, nowMs, rule, last)
    const cost = chooseCost(move, rule)
    const step = take(limit, state, nowMs, cost)
    const atMs = Math.max(nowMs, lastMs)
    visit({ rule, limit, before: state, nowMs, atMs, cost, step })
    if (step.allowed || (state === undefined && startsBelowFull(rule))) lastMs = atMs
    state = step.state
    last = step
  }
}

/** Rules with awkward numbers, drawn by seed. */
export function anyRule(algorithm: AlgorithmName): fc.Arbitrary<{ rule: Rule; startMs: number }> {
  return fc.nat(2 ** 31 - 1).map(seed => rollRule(random(seed), algorithm, 'rule'))
}

export function anyMoves(most: number): fc.Arbitrary<Move[]> {
  const usual = fc.constantFrom<Move['cost'][]>('one', 'few', 'fraction')
  const move = fc.record({
    time: fc.constantFrom(...TIME_MOVES),
    cost: fc.oneof({ weight: 2, arbitrary: usual }, { weight: 3, arbitrary: fc.constantFrom(...COST_MOVES) }),
    amount: fc.nat(9_999).map(tenThousandths => tenThousandths / 10_000),
  })
  return fc.array(move, { minLength: 1, maxLength: most, size: 'max' })
}

/** Holds a claim against seeded histories; a failure prints the smallest history that breaks it. */
export function hold<T>(arbitrary: fc.Arbitrary<T>, claim: (value: T) => void, numRuns = 100): void {
  fc.assert(fc.property(arbitrary, claim), { seed: 20_240_229, numRuns })
}
