import { expect } from 'vitest'
import { chooseCost, moveTime, rollMove, rollRule } from '../laws/histories.ts'
import type { ModelCharge } from '../laws/model.ts'
import { random } from '../support/random.ts'
import { decide, fits } from './harness.ts'
import { one, type Suite } from './suite.ts'

/** Tests that one step is all or none: several charges of one message, and many concurrent messages. */
export function describeSteps({ addTest, testStore, algorithms, ruleOf, options }: Suite): void {
  addTest('denied is free: one hard denial charges no rule of that message', async () => {
    for (const algorithm of algorithms()) {
      const [full, other] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      await decide(testStore(), [one(full)])
      for (let times = 0; times < 5; times++) {
        expect(await fits(testStore(), [one(other), one(full)])).toEqual([true, false])
      }
      expect(await fits(testStore(), [one(other)])).toEqual([true])
      expect(await fits(testStore(), [one(other)])).toEqual([false])
    }
  })

  addTest('a soft charge that does not fit is left out and stops no other', async () => {
    for (const algorithm of algorithms()) {
      const [soft, hard] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      expect(await fits(testStore(), [one(soft, { soft: true })])).toEqual([true])
      expect(await fits(testStore(), [one(soft, { soft: true }), one(hard)])).toEqual([false, true])
      expect(await fits(testStore(), [one(hard)])).toEqual([false])
    }
  })

  addTest('a soft charge that fits is taken only with the hard ones', async () => {
    for (const algorithm of algorithms()) {
      const [soft, full] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      await decide(testStore(), [one(full)])
      expect(await fits(testStore(), [one(soft, { soft: true }), one(full)])).toEqual([true, false])
      expect(await fits(testStore(), [one(soft, { soft: true })])).toEqual([true])
      expect(await fits(testStore(), [one(soft, { soft: true })])).toEqual([false])
    }
  })

  addTest('the order of charges does not matter', async () => {
    const { clock } = testStore()
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
        const verdicts = await decide(testStore(), charges)
        const mirrored = await decide(testStore(), twins)
        charges.forEach((charge, index) => {
          const twin = twins.findIndex(({ rule }) => rule.name === `twin of ${charge.rule.name}`)
          expect(mirrored[twin]).toEqual(verdicts[index])
        })
      }
    }
  })

  addTest('a step has no charges, one, or sixty-four', async () => {
    expect(await decide(testStore(), [])).toEqual([])
    expect(await decide(testStore(), [], false)).toEqual([])
    for (const algorithm of algorithms()) {
      const rules = Array.from({ length: 64 }, () => ruleOf(algorithm, 1))
      const charges = rules.map(rule => one(rule))
      const [last] = charges.slice(-1)
      expect(await fits(testStore(), charges, false)).toEqual(rules.map(() => true))
      expect(await fits(testStore(), charges.slice(0, 63))).toEqual(rules.slice(1).map(() => true))
      expect(await fits(testStore(), charges)).toEqual([...rules.slice(1).map(() => false), true])
      // Alone it shows that the denied long step has taken nothing.
      expect(await fits(testStore(), [last!])).toEqual([true])
      expect(await fits(testStore(), [last!])).toEqual([false])
    }
  })

  addTest('charges of the same rule and key in one step add up', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const [rule, other] = [ruleOf(algorithm, 5), ruleOf(algorithm, 5)]
      const costs = (...all: number[]): ModelCharge[] => all.map(cost => one(rule, { cost }))
      for (const commit of [false, true]) {
        const tooMuch = await fits(testStore(), [...costs(3, 3), one(other)], commit)
        expect(tooMuch.slice(0, 2)).toContain(false)
        expect((await decide(testStore(), [one(other, { cost: 0 })], false))[0]!.remaining).toBe(5)
      }
      const verdicts = await decide(testStore(), [...costs(1, 1), one(other), ...costs(2)])
      expect(verdicts.map(({ allowed }) => allowed)).toEqual([true, true, true, true])
      expect(verdicts[3]!.remaining).toBe(1)
      expect((await decide(testStore(), costs(0), false))[0]!.remaining).toBe(1)
      // Another key of the rule is another counter.
      expect(await fits(testStore(), [...costs(1), one(rule, { key: 'a', cost: 5 })])).toEqual([true, true])
      expect(await fits(testStore(), costs(1))).toEqual([false])
    }
  })

  addTest('many decisions at once admit exactly what there is', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const rule = ruleOf(algorithm, 20)
      const verdicts = await Promise.all(Array.from({ length: 50 }, () => decide(testStore(), [one(rule)])))
      expect(verdicts.filter(([verdict]) => verdict!.allowed)).toHaveLength(20)
      // The first found the most: the answers equal those of sequential calls.
      const left = verdicts.flatMap(([verdict]) => (verdict!.allowed ? [verdict!.remaining] : []))
      expect(left.sort((a, b) => b - a)).toEqual(Array.from({ length: 20 }, (_, index) => 19 - index))
    }
  })

  addTest('many steps of several rules at once are each all or none', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const [shared, own] = [ruleOf(algorithm, 12), ruleOf(algorithm, 3)]
      const keys = ['a', 'b', 'c', 'd', 'e']
      const asked = Array.from({ length: 60 }, (_, index) => keys[index % keys.length]!)
      const verdicts = await Promise.all(
        asked.map(key => fits(testStore(), [one(shared), one(own, { key })])),
      )
      const passed = asked.filter((_, index) => verdicts[index]!.every(allowed => allowed))
      expect(passed).toHaveLength(12)
      for (const key of keys) {
        const taken = passed.filter(each => each === key).length
        const [left] = await decide(testStore(), [one(own, { key, cost: 0 })], false)
        expect(left!.remaining).toBe(3 - taken)
      }
    }
  })
}
