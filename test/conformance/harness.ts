import { expect } from 'vitest'
import { createLimit } from '../../src/algorithms/index.ts'
import type { AlgorithmName, Limit } from '../../src/algorithms/limit-types.ts'
import type { Charge, Store, Verdict } from '../../src/stores/store.ts'
import { chooseCost, moveTime, rollMove, rollRule } from '../laws/histories.ts'
import { type Answer, Model, type ModelCharge, type Rule } from '../laws/model.ts'
import type { FakeClock } from '../support/fake-clock.ts'
import { type Random, random } from '../support/random.ts'

/** Store under test and the clock it was opened with. */
export interface TestStore {
  readonly store: Store
  readonly clock: FakeClock
}

const limits = new Map<string, Limit>()

/** Limit of a rule, created once. */
export function limitOf(rule: Rule): Limit {
  const id = JSON.stringify(rule)
  const limit = limits.get(id) ?? createLimit(rule)
  limits.set(id, limit)
  return limit
}

export function chargeOf({ rule, key, cost, soft }: ModelCharge): Charge {
  return { limit: limitOf(rule), key, cost, ...(soft && { soft }) }
}

/** Verdicts of one step. */
export async function decide(
  { store, clock }: TestStore,
  charges: readonly ModelCharge[],
  commit = true,
  nowMs: number | undefined = clock.now(),
): Promise<Verdict[]> {
  const verdicts = await store.decide(charges.map(chargeOf), {
    commit,
    ...(nowMs !== undefined && { nowMs }),
  })
  return verdicts.map(({ allowed, remaining, retryAfterMs, resetMs }) => ({
    allowed,
    remaining,
    retryAfterMs,
    resetMs,
  }))
}

/** Returns which charges of one step fit. */
export async function fits(
  testStore: TestStore,
  charges: readonly ModelCharge[],
  commit = true,
): Promise<boolean[]> {
  return (await decide(testStore, charges, commit)).map(({ allowed }) => allowed)
}

/**
 * Sets a clock to a time. If idle keys may be swept, the last two seconds pass normally, so that the store's own
 * timers run.
 */
export function moveTo(clock: FakeClock, ms: number, sweeping: boolean): void {
  const stepMs = ms - clock.now()
  const runMs = sweeping ? Math.min(Math.max(0, stepMs), 2000) : 0
  clock.set(ms - runMs)
  clock.advance(runMs)
}

export interface HistoryOptions {
  readonly algorithms: readonly AlgorithmName[]
  readonly steps: number
  readonly shortestPeriodMs: number
  /** True if the clock steps back; otherwise the store's timers run and sweep idle keys. */
  readonly clockStepsBack: boolean
}

/** Plays one seeded history of several rules, keys and charges per step, and compares each verdict with the model's. */
export async function playHistory(
  testStore: TestStore,
  seed: number,
  options: HistoryOptions,
): Promise<void> {
  const { clock, store } = testStore
  const dice = random(seed)
  const model = new Model()
  const rolled = Array.from({ length: dice.int(1, 5) }, (_, index) =>
    rollRule(dice, dice.pick(options.algorithms), `history ${seed}: rule ${index}`, options.shortestPeriodMs),
  )
  const rules = rolled.map(({ rule }) => rule)
  clock.set(dice.pick(rolled).startMs)
  let last: { rule: Rule; answer: Answer } | undefined
  for (let step = 0; step < options.steps; step++) {
    const move = rollMove(dice)
    const nowMs = moveTime(move, clock.now(), last?.rule ?? rules[0]!, last?.answer)
    moveTo(clock, options.clockStepsBack ? nowMs : Math.max(nowMs, clock.now()), !options.clockStepsBack)
    const charges = rollCharges(dice, rules)
    const commit = dice.chance(0.85)
    const expected = model.decide(charges, clock.now(), commit)
    const got = await decide(testStore, charges, commit, dice.chance(0.5) ? clock.now() : undefined)
    expect(
      got,
      `history ${seed}, step ${step}: ${JSON.stringify({ nowMs: clock.now(), commit, charges })}`,
    ).toEqual(expected)
    const passed = charges.every((charge, index) => charge.soft || expected[index]!.allowed)
    if (commit && passed && dice.chance(0.1)) {
      const taken = charges.filter((_, index) => expected[index]!.allowed)
      await store.refund(taken.map(chargeOf))
      for (const charge of taken) model.giveBack(charge)
    }
    const at = dice.int(0, charges.length - 1)
    last = { rule: charges[at]!.rule, answer: expected[at]! }
  }
}

/** Returns charges of one message: some of the rules, each once, some of them soft. */
function rollCharges(dice: Random, rules: readonly Rule[]): ModelCharge[] {
  const some = dice.shuffle(rules).slice(0, dice.int(1, rules.length))
  return some.map(rule => ({
    rule,
    key: dice.pick(['', 'a', 'b']),
    cost: chooseCost(rollMove(dice), rule),
    ...(dice.chance(0.2) && { soft: true }),
  }))
}
