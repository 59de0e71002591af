import { expect } from 'vitest'
import { decide } from './harness.ts'
import { one, type Suite } from './suite.ts'

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
/** Names and keys that would collide if they were simply joined. */
const JOINED = ['a', 'a:b', 'b', 'b:c', ':', '::', 'a:', ':a', 'a\u0000b', '1:a', '3:a:b']

/** Tests keys and costs of untrusted clients. */
export function describeKeys({ addTest, testStore, algorithms, ruleOf, options }: Suite): void {
  addTest(
    'different keys and rule names have different counters, whatever characters they contain',
    async () => {
      const names = [...STRANGE, ...JOINED]
      const charges = names.flatMap(name =>
        names.map(key => one({ ...ruleOf(algorithms()[0]!, 1), name: `strange ${name}` }, { key })),
      )
      for (const allowed of [true, false]) {
        for (const charge of charges) {
          const [verdict] = await decide(testStore(), [charge])
          expect(verdict!.allowed, JSON.stringify([charge.rule.name, charge.key])).toBe(allowed)
        }
      }
    },
  )

  addTest('rule names that look like keys of an object are only names', async () => {
    for (const name of ['__proto__', 'constructor', 'a', 'a:b']) {
      const rule = { ...ruleOf(algorithms()[0]!, 1), name }
      for (const key of ['b:c', 'c', '__proto__']) {
        expect((await decide(testStore(), [one(rule, { key })]))[0]!.allowed).toBe(true)
        expect((await decide(testStore(), [one(rule, { key })]))[0]!.allowed).toBe(false)
      }
    }
  })

  addTest('the longest keys have different counters if only their last characters differ', async () => {
    const rule = ruleOf(algorithms()[0]!, 1)
    for (const letter of ['k', '\u0000', 'ä', '\ud83d']) {
      const long = letter.repeat(options.longestKey - 1)
      for (const key of [`${long}a`, `${long}b`]) {
        expect((await decide(testStore(), [one(rule, { key })]))[0]!.allowed).toBe(true)
        expect((await decide(testStore(), [one(rule, { key })]))[0]!.allowed).toBe(false)
      }
    }
  })

  addTest('a cost above what could ever pass is denied for ever, and takes nothing', async () => {
    for (const algorithm of algorithms().filter(algorithm => algorithm !== 'leaky-bucket')) {
      const rule = ruleOf(algorithm)
      for (const cost of [4, 1e9, Number.MAX_SAFE_INTEGER, 1e300, Number.POSITIVE_INFINITY]) {
        const [verdict] = await decide(testStore(), [one(rule, { cost })])
        expect(verdict).toMatchObject({
          allowed: false,
          retryAfterMs: Number.POSITIVE_INFINITY,
          remaining: 3,
        })
      }
      expect((await decide(testStore(), [one(rule, { cost: 3 })]))[0]!.allowed).toBe(true)
    }
  })

  addTest('no cost makes a number that is NaN, negative or not whole', async () => {
    const { POSITIVE_INFINITY, NaN: NOT_A_NUMBER, MAX_SAFE_INTEGER, MIN_VALUE } = Number
    const costs = [0, -0, 1, -1, 0.5, MIN_VALUE, NOT_A_NUMBER, MAX_SAFE_INTEGER, 1e300, POSITIVE_INFINITY]
    for (const algorithm of algorithms()) {
      for (const fractional of [false, true]) {
        for (const cost of costs) {
          const rule = { ...ruleOf(algorithm), ...(fractional && { fractional }) }
          for (const each of [cost, 1, cost]) {
            const [verdict] = await decide(testStore(), [one(rule, { cost: each })])
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

  addTest('a cost that is negative or not a number counts as one unit', async () => {
    const rule = ruleOf(algorithms()[0]!)
    for (const cost of [-5, Number.NaN]) {
      const [peeked] = await decide(testStore(), [one(rule)], false)
      expect((await decide(testStore(), [one(rule, { cost })]))[0]).toEqual(peeked)
    }
  })
}
