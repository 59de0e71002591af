import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { random } from '../../support/random.ts'
import { setScene } from './scene.ts'

const rule = { name: 'r', rate: '10/s burst 1', per: ['client', 'topic'], exceeded: 'latest' } as const

describe('keep-latest', () => {
  it('passes the first message at once and then the last, and drops the others as superseded', () => {
    const { clock, enacted, send, guard } = setScene([rule])
    for (let index = 0; index < 5; index++) send('a')
    expect(enacted.map(({ id, decision }) => `${id} ${decision.outcome} ${decision.reason}`)).toEqual([
      ...['0 deliver ok', '1 drop superseded', '2 drop superseded', '3 drop superseded'],
    ])
    expect(enacted[1]?.decision).toMatchObject({ allowed: false, rule: 'r' })
    clock.advance(100)
    expect(enacted.at(-1)).toMatchObject({ id: 4, atMs: 100, decision: { outcome: 'deliver' } })
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, heldPeak: 1, superseded: 3 })
    expect(clock.pending).toBe(0)
  })

  it('delivers the first of each topic without delay and the last of each, of 10,000 updates on 100 topics', () => {
    const { clock, enacted, send, guard } = setScene([rule])
    const chance = random(11)
    const firsts = new Map<string, number>()
    const lasts = new Map<string, number>()
    for (let index = 0; index < 10_000; index++) {
      const topic = `sensor/${index < 100 ? index : chance.int(0, 99)}`
      const id = send('gateway', topic)
      if (!firsts.has(topic)) {
        firsts.set(topic, id)
        expect(enacted.at(-1)).toMatchObject({ id, decision: { outcome: 'deliver' } })
      }
      lasts.set(topic, id)
      if (index % 10 === 0) clock.advance(1)
    }
    clock.advance(100)
    expect(enacted).toHaveLength(10_000)
    const delivered = enacted.filter(({ decision }) => decision.allowed)
    const lastDelivered = new Map(delivered.map(({ topic, id }) => [topic, id]))
    expect(lastDelivered).toEqual(lasts)
    // At most one at once and one each 100 ms of the 1.1 s.
    expect(delivered.length).toBeLessThanOrEqual(100 * 12)
    expect(guard.stats().superseded).toBe(10_000 - delivered.length)
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
  })

  it('shares one limit among topics in the order in which they began to wait', () => {
    const { clock, enacted, send } = setScene([{ ...rule, per: 'client' }])
    for (const topic of ['a', 'b', 'c', 'b', 'd', 'a']) send('x', topic)
    clock.advance(1_000)
    const delivered = enacted.filter(({ decision }) => decision.allowed)
    expect(delivered.map(({ id, topic, atMs }) => `${atMs} ${topic} ${id}`)).toEqual([
      ...['0 a 0', '100 b 3', '200 c 2', '300 d 4', '400 a 5'],
    ])
  })

  it('never drops the last message for its age', () => {
    const { clock, enacted, send } = setScene([{ ...rule, rate: '1/day burst 1' }])
    send('a')
    send('a')
    clock.advance(86_400_000)
    expect(enacted.map(({ id }) => id)).toEqual([0, 1])
  })

  it('is bounded in topics and bytes; a newer message that is too large is refused, the older stays', () => {
    const few = setScene([{ ...rule, exceeded: { latest: { topics: 2, then: 'reject' } } }])
    for (const topic of ['a', 'b', 'c', 'a', 'b', 'c']) few.send('x', topic)
    expect(few.idsOf('reject')).toEqual([5])
    expect(few.guard.stats()).toMatchObject({ held: 2, overflowed: 1 })
    const small = setScene([{ ...rule, exceeded: { latest: { bytes: 100 } } }])
    for (const size of [10, 60, 100, 99]) small.send('x', 't', { size })
    expect(small.enacted.map(({ id, decision }) => `${id} ${decision.reason}`)).toEqual([
      ...['0 ok', '2 rate_limit_exceeded', '1 superseded'],
    ])
    expect(small.guard.stats()).toMatchObject({ held: 1, heldBytes: 100 })
    const house = setScene([rule])
    for (let round = 0; round < 2; round++) {
      for (let topic = 0; topic <= MAX_SIZES.queuedPerRule; topic++) house.send('x', `t/${topic}`)
    }
    expect(house.guard.stats()).toMatchObject({ held: MAX_SIZES.queuedPerRule, overflowed: 1 })
  })

  it('discards messages that a detached sender does not keep', () => {
    const { clock, enacted, send, senderQueueOf } = setScene([rule])
    send('a')
    send('a')
    expect(senderQueueOf('a').detach()).toBe(1)
    clock.advance(1_000)
    expect(enacted).toHaveLength(1)
  })
})
