import { expect } from 'vitest'
import { chooseCost, moveTime, rollMove, rollRule } from '../laws/histories.ts'
import type { ModelCharge } from '../laws/model.ts'
import { random } from '../support/random.ts'
import { decide, fits } from './harness.ts'
import { one, type Suite } from './suite.ts'

/** One step is all or none: the tests about several charges of one message, and of many messages at once. */
export function describeSteps({ tell, bench, algorithms, ruleOf, options }: Suite): void {
  tell('denied is free: one hard denial charges no rule of that message', async () => {
    for (const algorithm of algorithms()) {
      const [full, other] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      await decide(bench(), [one(full)])
      for (let times = 0; times < 5; times++) {
        expect(await fits(bench(), [one(other), one(full)])).toEqual([true, false])
      }
      expect(await fits(bench(), [one(other)])).toEqual([true])
      expect(await fits(bench(), [one(other)])).toEqual([false])
    }
  })

  tell('a soft charge that does not fit is left out and stops no other', async () => {
    for (const algorithm of algorithms()) {
      const [soft, hard] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      expect(await fits(bench(), [one(soft, { soft: true })])).toEqual([true])
      expect(await fits(bench(), [one(soft, { soft: true }), one(hard)])).toEqual([false, true])
      expect(await fits(bench(), [one(hard)])).toEqual([false])
    }
  })

  tell('a soft charge that fits is taken only with the hard ones', async () => {
    for (const algorithm of algorithms()) {
      const [soft, full] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      await decide(bench(), [one(full)])
      expect(await fits(bench(), [one(soft, { soft: true }), one(full)])).toEqual([true, false])
      expect(await fits(bench(), [one(soft, { soft: true })])).toEqual([true])
      expect(await fits(bench(), [one(soft, { soft: true })])).toEqual([false])
    }
  })

  tell('the order of charges does not matter', async () => {
    const { clock } = bench()
    for (let seed = 1; seed <= options.histories / 4; seed++) {
      const dice = random(seed)
      const rolled = algorithms().map(algorithm => rollRule(dice, algorithm, '', options.shortestPeriodMs))
      const rules = rolled.map(({ rule }) => ({ ...rule, name: `order ${seed} ${rule.algorithm}` }))
      clock.set(rolled[0]!.startMs)
      for (let step = 0; step < 20; step++) {
        clock.set(moveTime(rollMove(dice), clock.now(), dice.pick(rules), undefined))
        const charges = rules.map(rule => one(rule, { cost: chooseCost(rollMove(dice), rule) }))
        const twins = dice.shuffle(
          charges.map(({ rule, cost }) => one({ ...rule, name: `twin of ${rule.name}` }, { cost })),
        )
        const verdicts = await decide(bench(), charges)
        const mirrored = await decide(bench(), twins)
        charges.forEach((charge, index) => {
          const twin = twins.findIndex(({ rule }) => rule.name === `twin of ${charge.rule.name}`)
          expect(mirrored[twin]).toEqual(verdicts[index])
        })
      }
    }
  })

  tell('a step has no charges, one, or sixty-four', async () => {
    expect(await decide(bench(), [])).toEqual([])
    expect(await decide(bench(), [], false)).toEqual([])
    for (const algorithm of algorithms()) {
      const rules = Array.from({ length: 64 }, () => ruleOf(algorithm, 1))
      const charges = rules.map(rule => one(rule))
      const [last] = charges.slice(-1)
      expect(await fits(bench(), charges, false)).toEqual(rules.map(() => true))
      expect(await fits(bench(), charges.slice(0, 63))).toEqual(rules.slice(1).map(() => true))
      expect(await fits(bench(), charges)).toEqual([...rules.slice(1).map(() => false), true])
      // Alone it shows that the long step, being denied, has taken nothing of it.
      expect(await fits(bench(), [last!])).toEqual([true])
      expect(await fits(bench(), [last!])).toEqual([false])
    }
  })

  tell('charges of the same rule and key in one step add up', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const [rule, other] = [ruleOf(algorithm, 5), ruleOf(algorithm, 5)]
      const costs = (...all: number[]): ModelCharge[] => all.map(cost => one(rule, { cost }))
      for (const commit of [false, true]) {
        const tooMuch = await fits(bench(), [...costs(3, 3), one(other)], commit)
        expect(tooMuch.slice(0, 2)).toContain(false)
        expect((await decide(bench(), [one(other, { cost: 0 })], false))[0]!.remaining).toBe(5)
      }
      const verdicts = await decide(bench(), [...costs(1, 1), one(other), ...costs(2)])
      expect(verdicts.map(({ allowed }) => allowed)).toEqual([true, true, true, true])
      expect(verdicts[3]!.remaining).toBe(1)
      expect((await decide(bench(), costs(0), false))[0]!.remaining).toBe(1)
      // Another key of the rule is another counter.
      expect(await fits(bench(), [...costs(1), one(rule, { key: 'a', cost: 5 })])).toEqual([true, true])
      expect(await fits(bench(), costs(1))).toEqual([false])
    }
  })

  tell('many decisions at once admit exactly what there is', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const rule = ruleOf(algorithm, 20)
      const verdicts = await Promise.all(Array.from({ length: 50 }, () => decide(bench(), [one(rule)])))
      expect(verdicts.filter(([verdict]) => verdict!.allowed)).toHaveLength(20)
      // Whoever came first found the most: the answers are those of one after another.
      const left = verdicts.flatMap(([verdict]) => (verdict!.allowed ? [verdict!.remaining] : []))
      expect(left.sort((a, b) => b - a)).toEqual(Array.from({ length: 20 }, (_, index) => 19 - index))
    }
  })

  tell('many steps of several rules at once are each all or none', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const [shared, own] = [ruleOf(algorithm, 12), ruleOf(algorithm, 3)]
      const keys = ['a', 'b', 'c', 'd', 'e']
      const asked = Array.from({ length: 60 }, (_, index) => keys[index % keys.length]!)
      const verdicts = await Promise.all(asked.map(key => fits(bench(), [one(shared), one(own, { key })])))
      const passed = asked.filter((_, index) => verdicts[index]!.every(allowed => allowed))
      expect(passed).toHaveLength(12)
      for (const key of keys) {
        const taken = passed.filter(each => each === key).length
        const [left] = await decide(bench(), [one(own, { key, cost: 0 })], false)
        expect(left!.remaining).toBe(3 - taken)
      }
    }
  })
}
