import { describe, expect, it } from 'vitest'
import { createSender, type Gate, limit, type Message, PolicyError } from '../../../src/index.ts'
import { gateOn, STORE_NAMES, useStores } from './each-store.ts'

useStores()

function from(sender: Message['sender'], more: Partial<Message> = {}): Message {
  return { topic: 't', on: 'publish', sender, size: 1, ...more }
}

async function admitted(gate: Gate, message: Message): Promise<number> {
  let count = 0
  while (count < 1_000 && (await gate.check(message)).allowed) count++
  return count
}

const RULES = {
  'token-bucket': { limit: '3/min burst 5' },
  'token-bucket that starts low': { limit: '3/min burst 5', initial: 1 },
  'sliding-log': { limit: '3/min', algorithm: 'sliding-log' },
  'fixed-window': { limit: '3/min', algorithm: 'fixed-window' },
  'leaky-bucket': { limit: '3/min', algorithm: 'leaky-bucket' },
  'sliding-counter': { limit: '3/min', algorithm: 'sliding-counter' },
  quota: { quota: '3/day' },
  'sliding-log of a rolling quota': { quota: '3/day', window: 'rolling' },
}
type RuleName = keyof typeof RULES

describe.each(STORE_NAMES)('an override on the store %s', name => {
  it.each<[string, RuleName, number, number]>([
    ['x2', 'token-bucket', 10, 10],
    ['x2', 'token-bucket that starts low', 10, 10],
    ['x2', 'sliding-log', 6, 6],
    ['x2', 'fixed-window', 6, 6],
    ['x2', 'leaky-bucket', 6, 1],
    ['x2', 'sliding-counter', 6, 6],
    ['x2', 'quota', 6, 6],
    ['x2', 'sliding-log of a rolling quota', 6, 6],
    ['4/min burst 6', 'token-bucket', 6, 6],
    ['4/min burst 6', 'token-bucket that starts low', 6, 6],
    ['4/min burst 6', 'sliding-log', 4, 4],
    ['4/min burst 6', 'fixed-window', 4, 4],
    ['4/min burst 6', 'leaky-bucket', 4, 1],
    ['4/min burst 6', 'sliding-counter', 4, 4],
    ['4/min burst 6', 'quota', 3, 3],
    ['4/min burst 6', 'sliding-log of a rolling quota', 4, 4],
    ['4/week', 'token-bucket', 4, 4],
    ['4/week', 'fixed-window', 4, 4],
    ['4/week', 'quota', 4, 4],
  ])('of %s keeps the algorithm of a %s, and starts full', async (text, rule, most, atOnce) => {
    const { gate, clock } = await gateOn(name, {
      rules: [{ name: 'r', per: 'client', cost: 2, exceeded: 'drop', ...RULES[rule] }],
    })
    // 15 s into a minute, and in the middle of a day and a week.
    clock.set(Date.UTC(2101, 2, 3, 12, 0, 15))
    const sender = createSender({ client: 'c' })
    await admitted(gate, from(sender))
    await gate.overrides.add({ client: 'c', limit: text, reason: 'x' })
    const { limits } = await gate.explain(from(sender))
    expect(limits).toMatchObject([
      { rule: 'r', algorithm: rule.split(' ')[0], key: 'c', cost: 2, limit: most, per: ['client'] },
    ])
    const isReplaced = most !== 3
    expect(await gate.check(from(sender))).toMatchObject(
      isReplaced
        ? { reason: 'override', rule: 'r', limit: most, remaining: Math.max(0, atOnce - 2) }
        : { outcome: 'drop', rule: 'r', limit: 3, remaining: 1 },
    )
  })

  it('has its own counters, even if others have the same effect', async () => {
    const { gate } = await gateOn(name, { rules: [{ name: 'r', limit: '2/h' }] })
    await gate.overrides.add({ client: 'a', limit: 'x2', reason: 'x' })
    await gate.overrides.add({ client: 'b', limit: 'x2', reason: 'x' })
    const counts = []
    for (const client of ['a', 'b', 'a', 'other']) counts.push(await admitted(gate, from({ client })))
    expect(counts).toEqual([4, 4, 0, 2])
  })

  it('starts full when it is added again, and keeps what was used before', async () => {
    const { gate } = await gateOn(name, { rules: [{ name: 'r', limit: '2/h', per: 'client' }] })
    const message = from(createSender({ client: 'c' }))
    const counts = [await admitted(gate, message)]
    for (let i = 0; i < 2; i++) {
      await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
      counts.push(await admitted(gate, message))
    }
    await gate.overrides.remove('client:c')
    counts.push(await admitted(gate, message))
    await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
    counts.push(await admitted(gate, message))
    expect(counts).toEqual([2, 4, 4, 0, 4])
  })

  it('is reset with its rule, by the key that explanations show', async () => {
    const { gate } = await gateOn(name, { rules: [{ name: 'r', limit: '2/h', per: 'client' }] })
    await gate.overrides.add({ ip: '10.0.0.0/8', limit: 'x2', reason: 'x' })
    await gate.overrides.add({ client: 'd', limit: '3/h', reason: 'x' })
    const [c, d] = [from({ client: 'c', ip: '10.0.0.7' }), from({ client: 'd' })]
    expect([await admitted(gate, c), await admitted(gate, d)]).toEqual([4, 3])
    expect(gate.keyOf('r', c)).toBe('c')
    expect(await gate.reset({ rule: 'r', key: 'c' })).toBe(1)
    expect([await admitted(gate, c), await admitted(gate, d)]).toEqual([4, 0])
    expect(await gate.reset({ rule: 'r' })).toBe(2)
    expect([await admitted(gate, c), await admitted(gate, d)]).toEqual([4, 3])
  })

  it('added last applies, even in the same millisecond', async () => {
    const { gate } = await gateOn(name, { rules: [{ name: 'r', limit: '2/h', per: 'client' }] })
    const message = from({ client: 'c', apiKey: 'k', user: 'u' })
    for (const [subject, times] of [
      [{ client: 'c' }, 2],
      [{ apiKey: 'k' }, 3],
      [{ user: 'u' }, 4],
      [{ client: 'c' }, 5],
      [{ apiKey: 'k' }, 6],
    ] as const) {
      await gate.overrides.add({ ...subject, limit: `x${times}`, reason: 'x' })
      expect(await gate.check(message)).toMatchObject({ limit: 2 * times, remaining: 2 * times - 1 })
    }
  })

  it('that a rule does not support leaves it to an older one', async () => {
    const { gate, clock } = await gateOn(name, {
      rules: [
        { name: 'daily', quota: '3/day', per: 'client' },
        { name: 'fast', limit: '5/s', per: 'client' },
      ],
    })
    clock.set(Date.UTC(2101, 2, 3, 12))
    await gate.overrides.add({ client: 'c', limit: 'x10', reason: 'x' })
    await gate.overrides.add({ client: 'c', rules: ['fast'], limit: '7/s', reason: 'x' })
    await gate.overrides.add({ ip: '10.0.0.7', limit: '9/s burst 90', reason: 'x' })
    const { limits } = await gate.explain(from({ client: 'c', ip: '10.0.0.7' }))
    expect(limits.map(({ rule, limit: most }) => `${rule} ${most}`)).toEqual(['daily 30', 'fast 90'])
  })

  it('follows the new numbers of its rule from the time of the change', async () => {
    const policy = (limit: string): object => ({ rules: [{ name: 'r', per: 'client', limit }] })
    const { gate, clock } = await gateOn(name, policy('2/h burst 2'))
    await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
    expect(await admitted(gate, from({ client: 'c' }))).toBe(4)
    clock.advance(15 * 60_000)
    // One of the four is back; from now on eight an hour are.
    await gate.apply(policy('4/h burst 2'))
    clock.advance(7.5 * 60_000)
    expect(await gate.check(from({ client: 'c' }))).toMatchObject({ limit: 4, remaining: 1 })
  })

  it('is the reason of a decision that names its rule, or names none if it lifted one', async () => {
    const rules = [
      { name: 'a', limit: '5/h', per: 'client', topic: 'a/#' },
      { name: 's', limit: '5/h', per: 'client', shadow: true },
      { name: 'b', limit: '4/h', per: 'client', topic: 'a/b/#' },
    ]
    const asked = async (override: object, topic: string): Promise<string> => {
      const { gate } = await gateOn(name, { rules })
      await gate.overrides.add({ client: 'c', reason: 'x', limit: 'x2', ...override })
      const message = from({ client: 'c' }, { topic })
      const { reason, rule } = await gate.check(message)
      await gate.reset()
      const explained = (await gate.explain(message)).decision
      expect(explained).toMatchObject({ reason })
      return `${reason}/${rule}`
    }
    expect(await asked({}, 'a')).toBe('override/a')
    expect(await asked({ rules: ['b'] }, 'a')).toBe('ok/a')
    expect(await asked({ rules: ['a'] }, 'a/b')).toBe('ok/b')
    expect(await asked({ rules: ['b'] }, 'a/b')).toBe('ok/a')
    expect(await asked({}, 'x')).toBe('ok/undefined')
    expect(await asked({ rules: ['s'] }, 'x')).toBe('ok/undefined')
    expect(await asked({ rules: ['s'], limit: 'unlimited' }, 'x')).toBe('override/undefined')
    expect(await asked({ rules: ['a'], limit: 'unlimited' }, 'a')).toBe('override/undefined')
    expect(await asked({ rules: ['a'], limit: 'unlimited' }, 'a/b')).toBe('ok/b')
    expect(await asked({ rules: ['a'], limit: 'unlimited' }, 'x')).toBe('ok/undefined')
    expect(await asked({ limit: 'unlimited' }, 'a/b')).toBe('override/undefined')
  })

  it('that lifts every limit precedes exemptions, any other follows them', async () => {
    const { gate } = await gateOn(name, {
      exempt: [{ name: 'e', clients: ['c'] }],
      rules: [{ name: 'r', limit: '1/h' }],
    })
    await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
    expect(await gate.check(from({ client: 'c' }))).toMatchObject({ reason: 'exempt', exemption: 'e' })
    await gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'x' })
    expect(await gate.check(from({ client: 'c' }))).toMatchObject({ reason: 'override' })
  })
})

describe('an override', () => {
  it.each([
    [{ rules: ['daily'], limit: '4/min' }, 'limit: rule "daily" is a quota of calendar windows'],
    [{ rules: ['log'], limit: '4/min burst 6' }, 'limit: rule "log" is a sliding-log, which has no burst'],
    [{ rules: ['log'], limit: 'x5000' }, 'limit: rule "log": a sliding-log of 15000 could need more'],
    [{ limit: 'x5000' }, 'or name the rules it is for'],
  ])('of %j is refused', async (options, message) => {
    const { gate } = await gateOn('memory', {
      rules: [
        { name: 'daily', quota: '3/day' },
        { name: 'log', limit: '3/min', algorithm: 'sliding-log' },
      ],
    })
    const added = gate.overrides.add({ client: 'c', reason: 'x', ...options })
    await expect(added).rejects.toBeInstanceOf(PolicyError)
    await expect(gate.overrides.add({ client: 'c', reason: 'x', ...options })).rejects.toThrow(message)
    expect(gate.overrides.list()).toEqual([])
  })

  it('emits warnings with the key that explanations show', async () => {
    const { gate } = await gateOn('memory')
    gate.use(limit({ name: 'r', rate: '4/h', per: 'client', warn: ['50%'] }))
    const warned: string[] = []
    gate.on('warning', warning => void (warning.kind === 'limit_near' && warned.push(warning.key)))
    await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
    await admitted(gate, from({ client: 'c' }))
    expect(warned).toEqual(['c'])
  })

  it('counts correctly beyond the number of cached limits', async () => {
    const { gate } = await gateOn('memory')
    gate.use(limit({ name: 'r', rate: '2/h', per: 'client' }))
    const kinds = 1_024 + 10
    for (let i = 1; i <= kinds; i++)
      await gate.overrides.add({ client: `c${i}`, limit: `${i}/h`, reason: 'x' })
    for (let i = 1; i <= kinds; i++)
      expect(await gate.check(from({ client: `c${i}` }))).toMatchObject({ limit: i, remaining: i - 1 })
    expect(await gate.check(from({ client: 'c1' }))).toMatchObject({ allowed: false, limit: 1 })
  })
})
