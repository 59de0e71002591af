import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Message } from '../../../src/core/message.ts'
import { type Decision, Gate, type MessageSizeOptions, PolicyError } from '../../../src/index.ts'
import { refusalText } from '../../../src/outcomes/refusal-text.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { gateOn, STORE_NAMES, useStores } from './each-store.ts'

useStores()

const message = (size: number, more: Partial<Message> = {}): Message => ({
  ...{ topic: 'a/b', on: 'publish', sender: { client: 'c' }, size, ...more },
})

describe.each(STORE_NAMES)('a maximum size, on the %s store', store => {
  it('refuses larger messages for good, and charges nothing for them', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'rate', limit: '2/h', per: 'client' },
        { name: 'size', topic: 'a/#', maxSize: '1kB', exceeded: 'drop' },
      ],
    })
    for (let count = 0; count < 3; count++) {
      expect(await gate.check(message(1_001))).toEqual({
        ...{ allowed: false, outcome: 'drop', reason: 'too_large', rule: 'size' },
        ...{ limit: 1_000, retryAfterMs: Infinity },
      })
    }
    expect(await gate.check(message(1_000))).toMatchObject({ allowed: true, rule: 'rate', remaining: 1 })
    expect(await gate.check(message(9_999, { topic: 'b' }))).toMatchObject({ rule: 'rate', remaining: 0 })
    expect(await gate.check(message(9))).toMatchObject({ allowed: false, reason: 'rate_limit_exceeded' })
    expect(await gate.check(message(9_999, { on: 'deliver' }))).toMatchObject({ allowed: true })
    expect(gate.rules()).toEqual(['rate', 'size'])
  })

  it('degrades or only reports larger messages, which are counted', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'tried', maxSize: 5, shadow: true },
        { name: 'lowered', maxSize: 10, exceeded: 'degrade' },
        { name: 'rate', limit: '2/h' },
      ],
    })
    expect(await gate.check(message(5))).toMatchObject({ rule: 'rate', remaining: 1 })
    expect(await gate.check(message(11))).toEqual({
      ...{ allowed: true, outcome: 'degrade', reason: 'too_large', rule: 'lowered', limit: 10 },
      ...{ retryAfterMs: 0, shadow: ['tried'] },
    })
    expect(await gate.check(message(11))).toMatchObject({ reason: 'rate_limit_exceeded', shadow: ['tried'] })
  })

  it('applies to some senders and messages, and the harshest of several wins', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'all', maxSize: 10, exceeded: 'drop' },
        { name: 'guests', maxSize: 5, for: { roles: ['guest'] }, exceeded: 'disconnect' },
        { name: 'retained', maxSize: 5, when: { retain: true }, exceeded: 'reject' },
      ],
    })
    expect(await gate.check(message(6))).toMatchObject({ allowed: true })
    expect(await gate.check(message(6, { retain: true }))).toMatchObject({ rule: 'retained' })
    expect(await gate.check(message(11, { retain: true }))).toMatchObject({ rule: 'retained' })
    expect(await gate.check(message(11))).toMatchObject({ rule: 'all', outcome: 'drop' })
    const sender = { roles: ['guest'] }
    expect(await gate.check(message(11, { sender, retain: true }))).toMatchObject({ rule: 'guests' })
    expect((await gate.explain(message(6))).sizes).toEqual([
      { rule: 'all', maxBytes: 10, allowed: true, shadow: false },
    ])
    expect((await gate.explain(message(6))).skipped.map(({ rule }) => rule)).toEqual(['guests', 'retained'])
  })

  it('is lifted by exemptions and by an override of all limits', async () => {
    const { gate } = await gateOn(store, {
      exempt: [
        { name: 'operators', roles: ['admin'] },
        { name: 'now-and-then', clients: ['b'], limit: '1/h' },
      ],
      rules: [{ name: 'size', maxSize: 10 }],
    })
    expect(await gate.check(message(11, { sender: { roles: ['admin'] } }))).toMatchObject({
      reason: 'exempt',
    })
    expect(await gate.check(message(11, { sender: { client: 'b' } }))).toMatchObject({ reason: 'exempt' })
    expect(await gate.check(message(11, { sender: { client: 'b' } }))).toMatchObject({
      ...{ reason: 'too_large', retryAfterMs: 3_600_000 },
    })
    await gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'test' })
    expect(await gate.check(message(11))).toMatchObject({ reason: 'override' })
  })

  it('appears in a peek and in an explanation', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'size', maxSize: 10 },
        { name: 'rate', limit: '2/h' },
      ],
    })
    expect(await gate.peek(message(10))).toMatchObject([{ rule: 'rate' }])
    expect(await gate.peek(message(11))).toMatchObject([{ rule: 'size' }, { rule: 'rate', allowed: true }])
    expect((await gate.explain(message(11))).decision).toMatchObject({ rule: 'size', reason: 'too_large' })
    expect((await gate.explain(message(10))).decision).toMatchObject({ rule: 'rate', allowed: true })
    expect(gate.keyOf('size', message(11))).toBeUndefined()
  })
})

describe('a maximum size in code', () => {
  const make = (options: object): (() => unknown) => {
    return () => limit({ name: 'a', maxSize: '1kB', ...options } as MessageSizeOptions)
  }

  it('has its own refusal text', () => {
    const gate = new Gate({ clock: new FakeClock() }).use(limit({ name: 'a', maxSize: '64KiB' }))
    const sender = { user: 'u' }
    const decision = gate.check(message(65_537, { sender })) as Decision
    expect(refusalText(decision, sender, gate.ruleOf('a'))).toBe(
      'Refused: the message is too large. At most 65536 bytes are allowed.',
    )
  })

  it('counts for penalties', async () => {
    const gate = new Gate({
      clock: new FakeClock(),
      penalties: { block: '1m', after: '2 refusals in 10s' },
    }).use(limit({ name: 'a', maxSize: 10, exceeded: 'drop' }))
    gate.check(message(11))
    gate.check(message(11))
    expect(gate.check(message(1))).toMatchObject({ reason: 'banned' })
    await gate.close()
  })

  it.each([
    [{ maxSize: 'big' }, /^maxSize: "big" is not a number of bytes/],
    [{ maxSize: -1 }, /^maxSize: -1 is not a number of bytes/],
    [{ on: 'subscribe' }, /^on: a subscribe has no size/],
    [{ exceeded: 'throttle' }, /^exceeded: a message that is too large does not pass later/],
    [{ per: 'client' }, /^there is no option `per`/],
    [{ name: '' }, /^name: a rule needs a name/],
  ])('with %j is an error', (options, text) => {
    expect(make(options)).toThrow(PolicyError)
    expect(make(options)).toThrow(text)
  })

  it('needs a unique name', () => {
    const gate = new Gate().use(limit({ name: 'a', maxSize: 10 }))
    expect(() => gate.use(limit({ name: 'a', limit: '1/s' }))).toThrow(/two rules are called "a"/)
    expect(() =>
      new Gate().use(limit({ name: 'a', limit: '1/s' }), limit({ name: 'a', maxSize: 9 })),
    ).toThrow(/two rules are called "a"/)
  })
})
