import { createLimit } from '../../src/algorithms/create-limit.ts'
import type { CustomAlgorithm, CustomState, StepResult } from '../../src/algorithms/custom-algorithm-types.ts'
import { checkedStep } from '../../src/algorithms/custom-kernel.ts'
import { type Limit, toGrains } from '../../src/algorithms/limit-types.ts'
import { chooseCost, moveTime, rollMove } from '../laws/histories.ts'
import { random } from '../support/random.ts'

/** Limit numbers to test an algorithm with. */
export interface Trial {
  readonly count: number
  readonly periodMs: number
  readonly burst?: number | undefined
  readonly fractional?: boolean | undefined
}

const TRIALS: readonly Trial[] = [
  { count: 7, periodMs: 1000 },
  { count: 10, periodMs: 1000, burst: 25 },
  { count: 3, periodMs: 7 },
  { count: 1, periodMs: 1 },
  { count: 1, periodMs: 60_000 },
  { count: 100, periodMs: 60_000, burst: 13 },
  { count: 13, periodMs: 86_400_000 },
  { count: 29, periodMs: 997, fractional: true },
  { count: 5, periodMs: 61_000, burst: 4, fractional: true },
]
const STEPS = 40
const STARTS_MS = [0, 1, 999, 1_699_999_999_999, 1_700_000_000_000, 4_102_444_800_000]

/** Yields a seed and limit numbers for each history. Throws RangeError if no trial has a period that is long enough. */
export function* generateTrials(
  histories: number,
  trials: readonly Trial[] = TRIALS,
  shortestPeriodMs: number,
): Generator<[seed: number, trial: Trial]> {
  const usable = trials.filter(({ periodMs }) => periodMs >= shortestPeriodMs)
  if (usable.length === 0) throw new RangeError(`no rule has a period of ${shortestPeriodMs} ms or more`)
  for (let seed = 1; seed <= histories; seed++) yield [seed, usable[seed % usable.length]!]
}

/** Returns the limit of a trial, and the time at which its history starts. */
export function startHistory(
  algorithm: CustomAlgorithm,
  seed: number,
  trial: Trial,
): { readonly limit: Limit; readonly startMs: number } {
  const limit = createLimit({ name: `history ${seed} of ${algorithm.name}`, algorithm, ...trial })
  return { limit, startMs: random(seed).pick(STARTS_MS) }
}

/** One step of a history. */
export interface HistoryStep {
  readonly before: CustomState | undefined
  readonly nowMs: number
  readonly cost: number
  readonly limit: Limit
  readonly step: StepResult<CustomState>
}

/** Plays one key on a clock that also steps back. Uses the same `cost` in every step if given. Returns the times. */
export function walkWithClockStepsBack(
  algorithm: CustomAlgorithm,
  seed: number,
  trial: Trial,
  visit: (step: HistoryStep) => void,
  cost?: number,
): readonly number[] {
  return walk(algorithm, seed, trial, visit, { clockStepsBack: true, ...(cost !== undefined && { cost }) })
}

/** Plays one key on a clock that never steps back, at the given times and cost if any. */
export function walkForward(
  algorithm: CustomAlgorithm,
  seed: number,
  trial: Trial,
  visit: (step: HistoryStep) => void,
  given: { readonly cost?: number; readonly moments?: readonly number[] } = {},
): void {
  walk(algorithm, seed, trial, visit, { clockStepsBack: false, ...given })
}

interface WalkOptions {
  readonly clockStepsBack: boolean
  readonly cost?: number | undefined
  readonly moments?: readonly number[] | undefined
}

function walk(
  algorithm: CustomAlgorithm,
  seed: number,
  trial: Trial,
  visit: (step: HistoryStep) => void,
  options: WalkOptions,
): readonly number[] {
  const { limit, startMs } = startHistory(algorithm, seed, trial)
  const dice = random(seed)
  const rule = { ...trial, name: '', algorithm: 'token-bucket' } as const
  const moments: number[] = []
  let before: CustomState | undefined
  let last: StepResult<CustomState> | undefined
  let nowMs = startMs
  for (let index = 0; index < STEPS; index++) {
    const move = rollMove(dice)
    const movedMs = moveTime(move, nowMs, rule, last)
    nowMs = options.moments?.[index] ?? (options.clockStepsBack ? movedMs : Math.max(nowMs, movedMs))
    moments.push(nowMs)
    // A cost in whole grains, the unit in which stores count.
    const cost = options.cost ?? toGrains(chooseCost(move, rule), limit) / limit.scale
    const step = checkedStep(algorithm, before, nowMs, cost, limit)
    visit({ before, nowMs, cost, limit, step })
    if (step.allowed) before = storedState(step.state)
    last = step
  }
  return moments
}

/** Returns the state that a store passes to the next step: undefined for an empty state. */
export function storedState(state: CustomState): CustomState | undefined {
  return state.length > 0 ? state : undefined
}

/** Returns the answers of a state to several costs, without the state. */
export function answersOf(
  algorithm: CustomAlgorithm,
  state: CustomState | undefined,
  nowMs: number,
  limit: Limit,
): Omit<StepResult<CustomState>, 'state' | 'expireInMs'>[] {
  const costs = [0, 1, Math.ceil(limit.capacity / 2), limit.capacity, limit.capacity + 1]
  return costs.map(cost => {
    const { allowed, remaining, retryAfterMs, resetMs } = checkedStep(algorithm, state, nowMs, cost, limit)
    return { allowed, remaining, retryAfterMs, resetMs }
  })
}
