import { describe, expect, it } from 'vitest'
import { limit, quota } from '../../../src/chain/rules/create-limit-middleware.ts'
import { exempt } from '../../../src/chain/rules/exemption.ts'
import type { ExceededSpec } from '../../../src/chain/rules/rule-options.ts'
import { PolicyError } from '../../../src/core/errors.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'

const message = (topic: string, client: string, more: Partial<Message> = {}): Message => ({
  ...{ topic, on: 'publish', sender: { client }, size: 1 },
  ...more,
})

describe('the facts of a rule', () => {
  it('are its numbers and what it wants done', () => {
    const gate = new Gate()
      .use('fleet/{site}/#', limit({ name: 'a', rate: '1MB/s burst 2000000', per: ['site', 'client'] }))
      .use(quota({ name: 'b', rate: '10/day', exceeded: { degrade: { sample: 5 } } }))
    expect(gate.ruleOf('a')).toMatchObject({
      ...{ name: 'a', on: 'publish', count: 1_000_000, periodMs: 1_000, capacity: 2_000_000 },
      ...{ unit: 'bytes', per: ['site', 'client'], algorithm: 'token-bucket' },
      exceeded: { outcome: 'reject' },
    })
    expect(gate.ruleOf('a')?.capturesOf('fleet/berlin/x')).toEqual(new Map([['site', 'berlin']]))
    expect(gate.ruleOf('b')).toMatchObject({ unit: 'messages', exceeded: { degrade: { sample: 5 } } })
    expect(gate.ruleOf('c')).toBeUndefined()
  })

  it('follow a policy that is loaded later', async () => {
    const policy = (exceeded: object | string, text?: string) => ({
      rules: [{ name: 'r', limit: '1/s', exceeded, ...(text === undefined ? {} : { message: text }) }],
    })
    const gate = await Gate.fromPolicy(policy({ queue: { max: 7, upTo: '30s', order: 'arrival' } }))
    expect(gate.ruleOf('r')?.exceeded.queue).toMatchObject({
      ...{ maxMessages: 7, upToMs: 30_000, order: 'arrival', then: 'drop' },
    })
    await gate.apply(policy({ latest: { topics: 5 } }, 'wait {retry}'))
    expect(gate.ruleOf('r')?.exceeded.queue).toMatchObject({ maxMessages: 5, upToMs: Infinity })
    expect(gate.ruleOf('r')?.message).toBe('wait {retry}')
  })

  it('tell the key a message would be counted under, and none where it is not', () => {
    const gate = new Gate()
      .use(exempt({ clients: ['admin'] }))
      .use(exempt({ when: { size: { min: '101B' } } }))
      .use('fleet/{site}/#', limit({ name: 'a', rate: '1/s', per: 'site' }))
    expect(gate.keyOf('a', message('fleet/berlin/x', 'c'))).toBe('berlin')
    expect(gate.keyOf('a', message('fleet/berlin/x', 'admin'))).toBeUndefined()
    expect(gate.keyOf('a', message('fleet/berlin/x', 'c', { size: 101 }))).toBeUndefined()
    expect(gate.keyOf('a', message('other', 'c'))).toBeUndefined()
    expect(gate.keyOf('a', message('fleet/berlin/x', 'c', { on: 'subscribe' }))).toBeUndefined()
    expect(gate.keyOf('b', message('fleet/berlin/x', 'c'))).toBeUndefined()
  })
})

describe('what a rule asks for when it is exceeded', () => {
  it.each([
    ['explode', /exceeded: "explode" is not an outcome/],
    ['deliver', /exceeded: "deliver" is not an outcome/],
    [{ queue: 7 }, /exceeded.queue: the options are not an object/],
    [{ queue: { upTo: '1h' } }, /exceeded.queue.upTo: "1h" is longer than a message can be held/],
    [{ queue: { max: 100_001 } }, /exceeded.queue.max: 100001 is not a whole number/],
    [{ queue: { then: 'queue' } }, /exceeded.queue.then: "queue" is not one of them/],
    [{ queue: { priority: { header: '' } } }, /exceeded.queue.priority.header: "" is not a header name/],
    [{ throttle: { then: 'reject' } }, /exceeded.throttle.then: "reject" is not one of them/],
    [{ latest: { topics: 0 } }, /exceeded.latest.topics: 0 is not a whole number/],
    [{ latest: { bytes: 'lots' } }, /exceeded.latest.bytes: "lots" is not a number of bytes/],
  ])('%j is refused where it makes no sense', (exceeded, says) => {
    const make = () => limit({ name: 'r', rate: '1/s', exceeded: exceeded as ExceededSpec })
    expect(make).toThrow(PolicyError)
    expect(make).toThrow(says)
  })
})
