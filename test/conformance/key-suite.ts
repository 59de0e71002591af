import { expect } from 'vitest'
import type { AlgorithmName } from '../../src/algorithms/limit.ts'
import type { ModelCharge, Rule } from '../laws/model.ts'
import { type Bench, decide } from './harness.ts'

interface KeySuite {
  readonly tell: (title: string, test: () => Promise<void>) => void
  readonly bench: () => Bench
  readonly algorithms: () => readonly AlgorithmName[]
  readonly ruleOf: (algorithm: AlgorithmName, count?: number) => Rule
  readonly one: (rule: Rule, more?: Partial<ModelCharge>) => ModelCharge
  readonly longestKey: number
}

const STRANGE = [
  '',
  '__proto__',
  'constructor',
  'toString',
  '😀',
  '\ud83d',
  '\u0000',
  '\n',
  ' ',
  '{a}',
  '*',
  '%',
  "'",
]
/** Names and keys whose plain joining would collide. */
const JOINED = ['a', 'a:b', 'b', 'b:c', ':', '::', 'a:', ':a', 'a\u0000b', '1:a', '3:a:b']

/** Which keys there may be, and what is forgotten: the tests about keys and costs that strangers choose. */
export function describeKeys({ tell, bench, algorithms, ruleOf, one, longestKey }: KeySuite): void {
  tell('keys and rule names are told apart whatever they hold', async () => {
    const names = [...STRANGE, ...JOINED]
    const charges = names.flatMap(name =>
      names.map(key => one({ ...ruleOf(algorithms()[0]!, 1), name: `strange ${name}` }, { key })),
    )
    for (const allowed of [true, false]) {
      for (const charge of charges) {
        const [verdict] = await decide(bench(), [charge])
        expect(verdict!.allowed, JSON.stringify([charge.rule.name, charge.key])).toBe(allowed)
      }
    }
  })

  tell('rule names that look like keys of an object are only names', async () => {
    for (const name of ['__proto__', 'constructor', 'a', 'a:b']) {
      const rule = { ...ruleOf(algorithms()[0]!, 1), name }
      for (const key of ['b:c', 'c', '__proto__']) {
        expect((await decide(bench(), [one(rule, { key })]))[0]!.allowed).toBe(true)
        expect((await decide(bench(), [one(rule, { key })]))[0]!.allowed).toBe(false)
      }
    }
  })

  tell('the longest keys are told apart by their last character', async () => {
    const rule = ruleOf(algorithms()[0]!, 1)
    const long = 'k'.repeat(longestKey - 1)
    for (const key of [`${long}a`, `${long}b`]) {
      expect((await decide(bench(), [one(rule, { key })]))[0]!.allowed).toBe(true)
      expect((await decide(bench(), [one(rule, { key })]))[0]!.allowed).toBe(false)
    }
  })

  tell('a cost above what could ever pass is denied for ever, and takes nothing', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const rule = ruleOf(algorithm)
      for (const cost of [4, 1e9, Number.MAX_SAFE_INTEGER, 1e300, Number.POSITIVE_INFINITY]) {
        const [verdict] = await decide(bench(), [one(rule, { cost })])
        expect(verdict).toMatchObject({
          allowed: false,
          retryAfterMs: Number.POSITIVE_INFINITY,
          remaining: 3,
        })
      }
      expect((await decide(bench(), [one(rule, { cost: 3 })]))[0]!.allowed).toBe(true)
    }
  })

  tell('no cost makes a number that is NaN, negative or not whole', async () => {
    const { POSITIVE_INFINITY, NaN: NOT_A_NUMBER, MAX_SAFE_INTEGER, MIN_VALUE } = Number
    const costs = [0, -0, 1, -1, 0.5, MIN_VALUE, NOT_A_NUMBER, MAX_SAFE_INTEGER, 1e300, POSITIVE_INFINITY]
    for (const algorithm of algorithms()) {
      for (const fractional of [false, true]) {
        for (const cost of costs) {
          const rule = { ...ruleOf(algorithm), ...(fractional && { fractional }) }
          for (const each of [cost, 1, cost]) {
            const [verdict] = await decide(bench(), [one(rule, { cost: each })])
            const { remaining, retryAfterMs, resetMs } = verdict!
            expect(Number.isSafeInteger(remaining) && remaining >= 0).toBe(true)
            for (const ms of [retryAfterMs, resetMs]) {
              expect(ms >= 0 && (Number.isInteger(ms) || ms === POSITIVE_INFINITY)).toBe(true)
            }
          }
        }
      }
    }
  })

  tell('a cost that is negative or not a number counts as one unit', async () => {
    const rule = ruleOf(algorithms()[0]!)
    for (const cost of [-5, Number.NaN]) {
      const [peeked] = await decide(bench(), [one(rule)], false)
      expect((await decide(bench(), [one(rule, { cost })]))[0]).toEqual(peeked)
    }
  })

  tell('forgets a key, a rule or everything, and says how many keys that were', async () => {
    const { store } = bench()
    await store.forget({})
    for (const algorithm of algorithms()) {
      const [first, second] = [ruleOf(algorithm, 1), ruleOf(algorithm, 1)]
      const charges = [first, second].flatMap(rule => ['a', 'b', 'a:b'].map(key => one(rule, { key })))
      const takeAll = async (): Promise<boolean[]> => {
        const allowed: boolean[] = []
        for (const charge of charges) allowed.push((await decide(bench(), [charge]))[0]!.allowed)
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

  tell('is in good health, and decides nothing for no charges', async () => {
    expect((await bench().store.health()).ok).toBe(true)
    expect(await decide(bench(), [])).toEqual([])
  })
}
