import { expect } from 'vitest'
import type { Verdict } from '../../src/stores/store.ts'
import type { Rule } from '../laws/model.ts'
import { chargeOf, decide, fits, moveTo } from './harness.ts'
import { one, type Suite } from './suite.ts'

/** Tests the state of a store: its duration and refunds. */
export function describeState({
  addTest,
  testStore,
  openSeparate,
  algorithms,
  ruleOf,
  options,
}: Suite): void {
  addTest('peek is pure: it answers what a charge would get, and takes nothing', async () => {
    for (const algorithm of algorithms()) {
      const rule = ruleOf(algorithm, 2)
      for (let times = 0; times < 4; times++) {
        const peeked = await decide(testStore(), [one(rule)], false)
        expect(await decide(testStore(), [one(rule)], false)).toEqual(peeked)
        expect(await testStore().store.forget({ rule: rule.name })).toBe(times === 0 ? 0 : 1)
        await decide(testStore(), [one(rule)])
      }
      const before = await decide(testStore(), [one(rule)], false)
      for (let times = 0; times < 5; times++) await decide(testStore(), [one(rule, { cost: 2 })], false)
      expect(await decide(testStore(), [one(rule)])).toEqual(before)
    }
  })

  addTest('consume and refund is the identity, and a refund never lifts a key above whole', async () => {
    const { store } = testStore()
    for (const algorithm of algorithms()) {
      const rule = ruleOf(algorithm, 5)
      await store.refund([chargeOf(one(rule, { cost: 3 }))])
      const fresh = await decide(testStore(), [one(rule)], false)
      await decide(testStore(), [one(rule)])
      await store.refund([chargeOf(one(rule))])
      expect(await decide(testStore(), [one(rule)], false)).toEqual(fresh)
      for (let times = 0; times < 3; times++) await store.refund([chargeOf(one(rule, { cost: 5 }))])
      expect(await decide(testStore(), [one(rule)], false)).toEqual(fresh)
      expect(await fits(testStore(), [one(rule, { cost: 5 })])).toEqual([true])
      expect(await fits(testStore(), [one(rule)])).toEqual([false])
    }
  })

  addTest('a refund gives back all charges of a step, each to its own key', async () => {
    for (const algorithm of algorithms()) {
      const [first, second] = [ruleOf(algorithm, 2), ruleOf(algorithm, 2)]
      const charges = [one(first, { key: 'a' }), one(second, { key: 'b' })]
      const beside = one(first, { key: 'b' })
      await decide(testStore(), [beside])
      const before = await decide(testStore(), [...charges, beside], false)
      await decide(testStore(), charges)
      await testStore().store.refund([])
      await testStore().store.refund(charges.map(chargeOf))
      expect(await decide(testStore(), [...charges, beside], false)).toEqual(before)
    }
  })

  addTest('a key that is whole again answers like one never seen', async () => {
    const { clock } = testStore()
    for (const algorithm of algorithms()) {
      const rule = ruleOf(algorithm)
      const verdict = (await decide(testStore(), [one(rule, { cost: 3 })]))[0]!
      clock.set(clock.now() + verdict.resetMs)
      const unseen = one(rule, { key: 'never seen' })
      expect(await decide(testStore(), [one(rule)])).toEqual(await decide(testStore(), [unseen]))
    }
  })

  addTest(
    'a key that started below full is full again for good, and a refused charge has begun it',
    async () => {
      if (!algorithms().includes('token-bucket')) return
      const alone = await openSeparate()
      const { clock } = alone
      const rule: Rule = { name: 'slow', algorithm: 'token-bucket', count: 2, periodMs: 60_000, initial: 0 }
      const [peeked] = await decide(alone, [one(rule)], false)
      const [refused] = await decide(alone, [one(rule)])
      expect(refused).toEqual(peeked)
      expect(refused).toMatchObject({ allowed: false, retryAfterMs: 30_000 })
      for (const idleMs of [30_000, 60_000, 3_600_000, 25 * 86_400_000]) {
        moveTo(clock, clock.now() + idleMs - 2_000, false)
        await clock.advanceAsync(2_000)
        const remaining = Math.min(2, idleMs / 30_000) - 1
        expect((await decide(alone, [one(rule)]))[0]).toMatchObject({ allowed: true, remaining })
      }
      // Refunded to the last unit, it is full and not a new key.
      await alone.store.refund([chargeOf(one(rule, { cost: 2 }))])
      expect((await decide(alone, [one(rule, { cost: 2 })]))[0]).toMatchObject({ allowed: true })
      await alone.store.close()
    },
  )

  addTest('no key is forgotten before it is whole', async () => {
    for (const algorithm of algorithms()) {
      // In a store of its own, because with one rule only, its keys are swept all the time.
      const alone = await openSeparate()
      const { clock } = alone
      const rule = ruleOf(algorithm)
      const wholeAtMs: number[] = []
      // Spread over more than a second, so that some are nearly full whenever the store sweeps.
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

  // A store whose state expires by its own clock cannot be tested with a fake one.
  if (options.shortestPeriodMs === 1) {
    addTest('nothing is left once all keys are whole', async () => {
      const alone = await openSeparate()
      const { clock, store } = alone
      let latestMs = 0
      for (const algorithm of algorithms()) {
        const rule = ruleOf(algorithm)
        for (const key of ['a', 'b', 'c']) {
          const [verdict] = await decide(alone, [one(rule, { key, cost: 2 })])
          latestMs = Math.max(latestMs, clock.now() + verdict!.resetMs)
        }
      }
      const keysOf = async (): Promise<number> => (await store.health()).keys ?? 0
      const held = (await store.health()).keys
      if (held !== undefined) expect(held).toBe(3 * algorithms().length)
      clock.set(latestMs)
      // As long as a slow sweep of few keys may take.
      await clock.advanceAsync(120_000)
      expect(await keysOf()).toBe(0)
      await store.close()
    })
  }

  addTest(
    'a changed limit carries over what was used: it mints the difference of capacity, and no more',
    async () => {
      const { clock } = testStore()
      for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
        for (const count of [14, 5, 3]) {
          const rule = ruleOf(algorithm, 10)
          await decide(testStore(), [one(rule, { cost: 4 })])
          const [verdict] = await decide(testStore(), [one({ ...rule, count }, { cost: 0 })], false)
          expect(verdict!.remaining).toBe(Math.max(0, count - 4))
          expect(
            await fits(testStore(), [one({ ...rule, count }, { cost: Math.max(0, count - 4) + 1 })]),
          ).toEqual([false])
        }
        clock.set(clock.now() + 1)
      }
    },
  )

  addTest(
    'what was used is counted by the old numbers up to a change, and by the new ones after it',
    async () => {
      const { clock, store } = testStore()
      for (const algorithm of algorithms().filter(each => each === 'token-bucket')) {
        const of = (name: string, count: number, periodMs: number): Rule => ({
          name,
          algorithm,
          count,
          periodMs,
        })
        clock.set(1_700_000_000_000)
        const names = ['changed', 'changed twice', 'changed and back'].map(name => `${name} ${clock.now()}`)
        const [once, twice, back] = names as [string, string, string]
        for (const name of names) await decide(testStore(), [one(of(name, 2, 60_000), { cost: 2 })])
        const change = (...rules: Rule[]): void => {
          const limits = rules.map(rule => chargeOf(one(rule)).limit)
          store.adopt?.(limits, clock.now())
        }
        const left = async (rule: Rule): Promise<Verdict> =>
          (await decide(testStore(), [one(rule)], false))[0]!
        clock.set(clock.now() + 15_000)
        // Half a unit refilled in 15 s; one and a half units are missing.
        change(of(once, 2, 3_600_000), of(twice, 1, 1_000), of(back, 7, 7_000))
        clock.set(clock.now() + 250)
        change(of(twice, 2, 60_000), of(back, 2, 60_000))
        // 7/7s refills a quarter of a unit in 250 ms, and so does 1/s.
        for (const name of [twice, back]) {
          expect(await left(of(name, 2, 60_000))).toEqual({
            allowed: false,
            remaining: 0,
            retryAfterMs: 7_500,
            resetMs: 37_500,
          })
        }
        if (store.adopt === undefined) return
        clock.set(clock.now() + 900_000 - 250)
        expect(await left(of(once, 2, 3_600_000))).toEqual({
          allowed: true,
          remaining: 0,
          retryAfterMs: 0,
          resetMs: 3_600_000,
        })
      }
    },
  )

  addTest('a limit that changes its period or its algorithm gives nothing back', async () => {
    for (const before of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      for (const after of algorithms()) {
        const [rule, next] = [ruleOf(before, 10), ruleOf(after, 10)]
        await decide(testStore(), [one(rule, { cost: 4 })])
        const periodMs = next.calendar ? next.periodMs : 3 * next.periodMs
        const changed = { ...next, name: rule.name, periodMs }
        const [verdict] = await decide(testStore(), [one(changed, { cost: 0 })], false)
        expect(verdict!.remaining, `${before} to ${after}`).toBeLessThanOrEqual(6)
      }
    }
  })

  addTest('forgets a key, a rule or everything, and says how many keys that were', async () => {
    const { store } = testStore()
    await store.forget({})
    for (const algorithm of algorithms()) {
      const [first, second] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      const charges = [first, second].flatMap(rule => ['a', 'b', 'a:b'].map(key => one(rule, { key })))
      const takeAll = async (): Promise<boolean[]> => {
        const allowed: boolean[] = []
        for (const charge of charges) allowed.push(...(await fits(testStore(), [charge])))
        return allowed
      }
      expect(await takeAll()).toEqual([true, true, true, true, true, true])
      expect(await takeAll()).toEqual([false, false, false, false, false, false])
      expect(await store.forget({ rule: 'no such rule' })).toBe(0)
      expect(await store.forget({ rule: first.name, key: 'no such key' })).toBe(0)
      expect(await store.forget({ rule: first.name, key: 'a' })).toBe(1)
      expect(await takeAll()).toEqual([true, false, false, false, false, false])
      expect(await store.forget({ rule: first.name })).toBe(3)
      expect(await takeAll()).toEqual([true, true, true, false, false, false])
      expect(await store.forget({})).toBe(6)
      expect(await takeAll()).toEqual([true, true, true, true, true, true])
      await store.forget({})
    }
  })

  addTest(
    'a store that was closed decides nothing more, says so as a StoreError, and leaves no timer',
    async () => {
      const pending = testStore().clock.pending
      const { clock, store } = await openSeparate()
      const charge = chargeOf(one(ruleOf(algorithms()[0]!)))
      await store.decide([charge], { commit: true })
      await store.close()
      const late = async (): Promise<unknown> => store.decide([charge], { commit: true })
      await expect(late()).rejects.toMatchObject({ name: 'StoreError', code: 'TOPICGATE_STORE' })
      await store.close()
      expect(clock.pending, 'timers left behind').toBe(pending)
    },
  )
}
