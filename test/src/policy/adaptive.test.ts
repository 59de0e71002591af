import { afterEach, describe, expect, it } from 'vitest'
import { type Decision, Gate, type Message } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const SENT: Message = { topic: 't', on: 'publish', sender: { client: 'c' }, size: 1 }
const gates: Gate[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close()
})

async function gateOf(adaptive: string, load?: number | 'none'): Promise<Gate> {
  const clock = new FakeClock()
  const policy = `version: 1\nadaptive: ${adaptive}\nrules:\n  - { name: all, limit: 100/s }\n  - { name: daily, quota: 500/day }\n`
  const gate = await Gate.fromPolicy(policy, { clock, ...(load === undefined ? {} : { load }) })
  gates.push(gate)
  return gate
}

const WORDS =
  '{ levels: { low: 1.5 up to 30%, medium: 1 up to 70%, high: 0.5 }, signals: [cpu, memory, event-loop], every: 10s }'

describe('the word `adaptive` of a policy', () => {
  it.each([
    [WORDS, 0.3, 150],
    [WORDS, 0.31, 100],
    [WORDS, 0.7, 100],
    [WORDS, 0.71, 50],
    [WORDS, 'none', 100],
    ['{}', 0.9, 50],
    ['{ stages: default }', 0.1, 100],
    ['{ stages: default }', 0.61, 75],
    ['{ stages: default }', 0.81, 50],
    ['{ stages: { memory: { 50%: x0.4, 90%: 0.1 } }, signals: [memory] }', 0.6, 40],
    ['{ stages: { cpu: { 60%: 0.9 } }, levels: { low: 2 up to 50%, high: 1 } }', 0.4, 200],
    ['{ stages: { cpu: { 60%: 0.9 } }, levels: { low: 2 up to 50%, high: 1 } }', 0.65, 90],
  ] as const)(
    '%s at a load of %s makes 100 of a second %i, and leaves quotas alone',
    async (words, load, limit) => {
      const gate = await gateOf(words, load)
      const decisions = (await gate.peek(SENT)) as readonly Decision[]
      expect(decisions.map(each => each.limit)).toEqual([limit, 500])
    },
  )

  it('is told in an explanation', async () => {
    const gate = await gateOf(WORDS, 0.9)
    const { limits, decision } = await gate.explain(SENT)
    const scaled = { factor: 0.5, reason: 'load high' }
    expect(limits).toMatchObject([
      { rule: 'all', limit: 50, scaled },
      { rule: 'daily', limit: 500 },
    ])
    expect(decision).toMatchObject({ rule: 'all', scaled })
  })

  it('measures on when the policy is loaded again with the same words', async () => {
    const clock = new FakeClock()
    const policyOf = (limit: string, every = '10s'): object => ({
      version: 1,
      adaptive: { stages: { memory: { '0.0001%': 0.5 } }, signals: ['memory'], every },
      rules: [{ name: 'all', limit }],
    })
    const gate = await Gate.fromPolicy(policyOf('100/s'), { clock })
    gates.push(gate)
    const check = (): Decision => gate.check(SENT) as Decision
    expect(check().limit).toBe(100)
    clock.advance(10_000)
    expect(check().limit).toBe(50)
    const timers = clock.pending
    await gate.apply(policyOf('200/s'))
    expect(check().limit).toBe(100)
    await gate.apply(policyOf('200/s', '20s'))
    // Other words begin anew.
    expect(check().limit).toBe(200)
    expect(clock.pending).toBe(timers)
    clock.advance(20_000)
    expect(check().limit).toBe(100)
    await gate.apply({ version: 1, rules: [{ name: 'all', limit: '200/s' }] })
    expect(check().limit).toBe(200)
    expect(clock.pending).toBe(timers - 1)
  })
})
