import { expect } from 'vitest'
import type { CustomAlgorithm, CustomState, StepResult } from '../../src/algorithms/custom-algorithm-types.ts'
import { checkedStep } from '../../src/algorithms/custom-kernel.ts'
import { toGrains } from '../../src/algorithms/limit-types.ts'
import { chooseCost, moveTime, rollMove } from '../laws/histories.ts'
import { random } from '../support/random.ts'
import { startHistory, storedState, type Trial } from './algorithm-walk.ts'
import type { TestStore } from './harness.ts'

const STEPS = 40

/** Plays one seeded history of several keys on a store and compares each verdict with the step's. */
export async function playCustomHistory(
  algorithm: CustomAlgorithm,
  { store, clock }: TestStore,
  seed: number,
  trial: Trial,
): Promise<void> {
  const { limit, startMs } = startHistory(algorithm, seed, trial)
  const dice = random(seed)
  const rule = { ...trial, name: '', algorithm: 'token-bucket' } as const
  const states = new Map<string, CustomState | undefined>()
  let last: StepResult<CustomState> | undefined
  clock.set(startMs)
  for (let index = 0; index < STEPS; index++) {
    const move = rollMove(dice)
    clock.set(moveTime(move, clock.now(), rule, last))
    const nowMs = clock.now()
    const key = dice.pick(['', 'a', 'b'])
    const cost = toGrains(chooseCost(move, rule), limit) / limit.scale
    const commit = dice.chance(0.85)
    const step = checkedStep(algorithm, states.get(key), nowMs, cost, limit)
    const [verdict] = await store.decide([{ limit, key, cost }], { commit, nowMs })
    const { allowed, remaining, retryAfterMs, resetMs } = step
    expect(
      verdict,
      `seed ${seed}, step ${index}: ${JSON.stringify({ nowMs, key, cost, commit })}`,
    ).toMatchObject({
      allowed,
      remaining,
      retryAfterMs,
      resetMs,
    })
    if (commit && allowed) states.set(key, storedState(step.state))
    last = step
    if (!commit || !allowed || !dice.chance(0.1)) continue
    await store.refund([{ limit, key, cost }])
    const before = storedState(step.state)
    if (algorithm.refund && before) states.set(key, storedState(algorithm.refund(before, nowMs, cost, limit)))
  }
}
