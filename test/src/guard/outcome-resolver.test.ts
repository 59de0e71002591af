import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { DegradeSampler } from '../../../src/guard/outcome-resolver.ts'
import type { OutcomeFunction } from '../../../src/outcomes/exceeded.ts'
import { setScene } from './scene.ts'

const sceneOf = (exceeded: OutcomeFunction) => setScene([{ name: 'r', rate: '10/s burst 1', exceeded }])

describe('a custom outcome', () => {
  it('is called for each message that its rule refuses, with the decision', () => {
    const seen: string[] = []
    const { enacted, send } = sceneOf((message, decision) => {
      seen.push(`${message.topic} ${decision.rule} ${decision.retryAfterMs}`)
      return message.topic === 'vip' ? 'deliver' : 'drop'
    })
    for (const topic of ['a', 'b', 'vip']) send('x', topic)
    expect(seen).toEqual(['b r 100', 'vip r 100'])
    expect(enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'drop', 'deliver'])
    expect(enacted[2]?.decision).toMatchObject({ allowed: true, retryAfterMs: 0 })
  })

  it('may queue or throttle a message, which is asked about again', () => {
    for (const outcome of ['queue', 'throttle', 'latest'] as const) {
      const { clock, enacted, send, guard } = sceneOf(() => outcome)
      send('x')
      send('x')
      expect(guard.stats().held).toBe(1)
      clock.advance(100)
      expect(enacted.map(({ id, decision }) => `${id} ${decision.outcome}`)).toEqual([
        ...['0 deliver', '1 deliver'],
      ])
    }
  })

  it('may be a whole decision, without its invalid parts', () => {
    const { enacted, send } = sceneOf(
      () => ({ outcome: 'retry', retryAfterMs: 7_000, allowed: true, reason: 'banned' }) as const,
    )
    send('x')
    send('x')
    expect(enacted[1]?.decision).toMatchObject({
      allowed: false,
      outcome: 'retry',
      retryAfterMs: 7_000,
      reason: 'banned',
      rule: 'r',
    })
  })

  it('leaves the message rejected if it throws, rejects or returns an invalid value', async () => {
    const answers: OutcomeFunction[] = [
      () => {
        throw new Error('broken')
      },
      () => 'explode' as 'drop',
      () => null as unknown as 'drop',
      () => Promise.reject(new Error('away')),
    ]
    for (const answer of answers) {
      const { clock, enacted, send } = sceneOf(answer)
      send('x')
      send('x')
      await clock.advanceAsync(0)
      expect(enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'reject'])
    }
  })

  it('may answer later, within the time limit of the guard', async () => {
    const { clock, enacted, send, guard } = sceneOf(
      () => new Promise(resolve => void clock.after(500, () => resolve('drop'))),
    )
    send('x')
    send('x')
    await clock.advanceAsync(500)
    expect(enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'drop'])
    const late = sceneOf(() => new Promise(() => {}))
    late.send('x')
    late.send('x')
    await late.clock.advanceAsync(1_000)
    expect(late.enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'reject'])
    expect(late.guard.stats()).toMatchObject({ timeouts: 1, fallbacks: 0, held: 0 })
    expect(guard.stats().timeouts).toBe(0)
  })
})

describe('degrading with a sample', () => {
  it('delivers 1 in n messages of each key, and drops the others', () => {
    const { enacted, send } = setScene([
      { name: 'r', rate: '1/hour', per: 'client', exceeded: { degrade: { sample: 3 } } },
    ])
    for (let index = 0; index < 8; index++) {
      send('a')
      if (index < 3) send('b')
    }
    const of = (client: string) =>
      enacted.filter(each => each.client === client).map(({ decision }) => decision.outcome)
    expect(of('a')).toEqual([...['deliver', 'degrade', 'drop', 'drop', 'degrade', 'drop', 'drop', 'degrade']])
    expect(of('b')).toEqual(['deliver', 'degrade', 'drop'])
    expect(enacted.at(-1)?.decision).toMatchObject({ allowed: true, rule: 'r' })
  })

  it('remembers a bounded number of keys, the most recently used', () => {
    const sampler = new DegradeSampler()
    for (let index = 0; index <= MAX_SIZES.sampledKeys; index++)
      expect(sampler.isChosen(`${index}`, 2)).toBe(true)
    expect(sampler.isChosen(`${MAX_SIZES.sampledKeys}`, 2)).toBe(false)
    expect(sampler.isChosen('0', 2)).toBe(true)
  })
})
