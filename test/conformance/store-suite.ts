import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ALGORITHMS, type AlgorithmName } from '../../src/algorithms/limit.ts'
import type { Clock } from '../../src/clock.ts'
import type { MaybePromise } from '../../src/message.ts'
import type { Store } from '../../src/stores/store.ts'
import { chooseCost, moveTime, rollMove, rollRule } from '../laws/histories.ts'
import type { ModelCharge, Rule } from '../laws/model.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { random } from '../support/random.ts'
import { type Bench, chargeOf, decide, moveTo, playHistory } from './harness.ts'
import { describeKeys } from './key-suite.ts'

export interface ConformanceOptions {
  /** Histories of each kind held against the model. Default: 60. */
  readonly histories?: number
  /** For stores whose state expires by a clock of their own: a period no test run outlasts. Default: 1. */
  readonly shortestPeriodMs?: number
  /** Characters of the longest key the store must tell apart. Default: 60,000. */
  readonly longestKey?: number
}

/** Tests that ran, by store: what a suite never ran on, it never proved. */
export const ran = new Map<string, number>()

/**
 * Registers the tests every store passes: the same history gets the same decisions everywhere, number by number,
 * as the slow exact model gives. `openStore` gives a store without state that reads the given clock.
 */
export function storeConformance(
  name: string,
  openStore: (clock: Clock) => MaybePromise<Store>,
  options: ConformanceOptions = {},
): void {
  const { histories = 60, shortestPeriodMs = 1, longestKey = 60_000 } = options

  describe(`the ${name} store`, () => {
    const clock = new FakeClock()
    let bench: Bench
    let algorithms: AlgorithmName[] = []
    let names = 0
    beforeAll(async () => {
      const store = await openStore(clock)
      bench = { store, clock }
      algorithms = ALGORITHMS.filter(algorithm => store.algorithms.has(algorithm))
    })
    afterAll(() => bench.store.close())

    /** A rule no other test has used. */
    const newRule = (rule: Partial<Rule> = {}): Rule => {
      names++
      return { name: `rule ${names}`, algorithm: algorithms[0]!, count: 3, periodMs: 60_000, ...rule }
    }
    const calendar = { unit: 'day', zone: 'UTC' } as const
    const ruleOf = (algorithm: AlgorithmName, count = 3): Rule =>
      newRule({ algorithm, count, ...(algorithm === 'quota' && { periodMs: 86_400_000, calendar }) })
    const one = (rule: Rule, more: Partial<ModelCharge> = {}): ModelCharge => ({
      rule,
      key: '',
      cost: 1,
      ...more,
    })
    const tell = (title: string, test: () => Promise<void>): void =>
      it(title, async () => {
        await test()
        ran.set(name, (ran.get(name) ?? 0) + 1)
      })

    tell('runs at least one algorithm, and only known ones', async () => {
      expect(algorithms.length).toBeGreaterThan(0)
      expect(algorithms.length).toBe(bench.store.algorithms.size)
    })

    tell('decides long histories like the model, number by number', async () => {
      for (let seed = 1; seed <= histories; seed++) {
        await playHistory(bench, seed, { algorithms, steps: 60, shortestPeriodMs, stumbling: false })
      }
    })

    tell('decides like the model while the clock stumbles back', async () => {
      for (let seed = 10_001; seed <= 10_000 + histories; seed++) {
        await playHistory(bench, seed, { algorithms, steps: 60, shortestPeriodMs, stumbling: true })
      }
    })

    tell('denied is free: one hard denial charges no rule of that message', async () => {
      for (const algorithm of algorithms) {
        const [full, other] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
        await decide(bench, [one(full)])
        for (let times = 0; times < 5; times++) {
          const verdicts = await decide(bench, [one(other), one(full)])
          expect(verdicts.map(verdict => verdict.allowed)).toEqual([true, false])
        }
        expect((await decide(bench, [one(other)]))[0]!.allowed).toBe(true)
        expect((await decide(bench, [one(other)]))[0]!.allowed).toBe(false)
      }
    })

    tell('a soft charge that does not fit is left out and stops no other', async () => {
      for (const algorithm of algorithms) {
        const [soft, hard] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
        const first = await decide(bench, [one(soft, { soft: true })])
        expect(first[0]!.allowed).toBe(true)
        const verdicts = await decide(bench, [one(soft, { soft: true }), one(hard)])
        expect(verdicts.map(verdict => verdict.allowed)).toEqual([false, true])
        expect((await decide(bench, [one(hard)]))[0]!.allowed).toBe(false)
      }
    })

    tell('the order of charges does not matter', async () => {
      for (let seed = 1; seed <= histories / 4; seed++) {
        const dice = random(seed)
        const rolled = algorithms.map(algorithm => rollRule(dice, algorithm, '', shortestPeriodMs))
        const rules = rolled.map(({ rule }) => newRule({ ...rule, name: `order ${seed} ${rule.algorithm}` }))
        clock.set(rolled[0]!.startMs)
        for (let step = 0; step < 20; step++) {
          clock.set(moveTime(rollMove(dice), clock.now(), dice.pick(rules), undefined))
          const charges = rules.map(rule => one(rule, { cost: chooseCost(rollMove(dice), rule) }))
          const twins = dice.shuffle(
            charges.map(charge =>
              one({ ...charge.rule, name: `twin of ${charge.rule.name}` }, { cost: charge.cost }),
            ),
          )
          const verdicts = await decide(bench, charges)
          const mirrored = await decide(bench, twins)
          charges.forEach((charge, index) => {
            const twin = twins.findIndex(({ rule }) => rule.name === `twin of ${charge.rule.name}`)
            expect(mirrored[twin]).toEqual(verdicts[index])
          })
        }
      }
    })

    tell('peek is pure: it answers what a charge would get, and takes nothing', async () => {
      for (const algorithm of algorithms) {
        const rule = ruleOf(algorithm, 2)
        for (let times = 0; times < 4; times++) {
          const peeked = await decide(bench, [one(rule)], false)
          expect(await decide(bench, [one(rule)], false)).toEqual(peeked)
          expect(await bench.store.forget({ rule: rule.name })).toBe(times === 0 ? 0 : 1)
          await decide(bench, [one(rule)])
        }
        const before = await decide(bench, [one(rule)], false)
        for (let times = 0; times < 5; times++) await decide(bench, [one(rule, { cost: 2 })], false)
        expect(await decide(bench, [one(rule)])).toEqual(before)
      }
    })

    tell('consume and refund is the identity, and a refund never lifts a key above whole', async () => {
      for (const algorithm of algorithms) {
        const rule = ruleOf(algorithm, 5)
        await bench.store.refund([chargeOf(one(rule, { cost: 3 }))])
        const fresh = await decide(bench, [one(rule)], false)
        await decide(bench, [one(rule)])
        await bench.store.refund([chargeOf(one(rule))])
        expect(await decide(bench, [one(rule)], false)).toEqual(fresh)
        for (let times = 0; times < 3; times++) await bench.store.refund([chargeOf(one(rule, { cost: 5 }))])
        expect(await decide(bench, [one(rule)], false)).toEqual(fresh)
        expect((await decide(bench, [one(rule, { cost: 5 })]))[0]!.allowed).toBe(true)
        expect((await decide(bench, [one(rule)]))[0]!.allowed).toBe(false)
      }
    })

    tell('a key that is whole again answers like one never seen', async () => {
      for (const algorithm of algorithms) {
        const rule = ruleOf(algorithm)
        const verdict = (await decide(bench, [one(rule, { cost: 3 })]))[0]!
        clock.set(clock.now() + verdict.resetMs)
        const unseen = one(rule, { key: 'never seen' })
        expect(await decide(bench, [one(rule)])).toEqual(await decide(bench, [unseen]))
      }
    })

    tell('no key is forgotten before it is whole', async () => {
      for (const algorithm of algorithms) {
        // A store of its own: where there is one rule only, its keys are swept all the time.
        const alone = { store: await openStore(clock), clock }
        const rule = ruleOf(algorithm)
        const wholeAtMs: number[] = []
        // Spread over more than a second, so that some are nearly whole whenever the store sweeps.
        for (let index = 0; index < 200; index++) {
          const [verdict] = await decide(alone, [one(rule, { key: `${index}` })])
          wholeAtMs.push(clock.now() + verdict!.resetMs)
          clock.set(clock.now() + 7)
        }
        for (const [index, ms] of wholeAtMs.entries()) {
          moveTo(clock, ms - 1, true)
          const [verdict] = await decide(alone, [one(rule, { key: `${index}`, cost: 0 })], false)
          expect(verdict!.resetMs).toBe(1)
        }
        await alone.store.close()
      }
    })

    tell('many decisions at once admit exactly what there is', async () => {
      for (const algorithm of algorithms.filter(algorithm => algorithm !== 'leaky-bucket')) {
        const rule = ruleOf(algorithm, 20)
        const verdicts = await Promise.all(Array.from({ length: 50 }, () => decide(bench, [one(rule)])))
        expect(verdicts.filter(([verdict]) => verdict!.allowed)).toHaveLength(20)
      }
    })

    describeKeys({ tell, bench: () => bench, algorithms: () => algorithms, ruleOf, one, longestKey })

    it('ran all of its tests', ({ task }) => {
      const registered = task.suite?.tasks.length ?? 0
      expect(registered).toBeGreaterThan(10)
      expect(ran.get(name)).toBe(registered - 1)
    })
  })
}
