import { describe, expect, it } from 'vitest'
import { compileTiers, type TiersSpec } from '../../../../src/chain/rules/tiers.ts'
import {
  createSender,
  type Decision,
  Gate,
  type GateOptions,
  limit,
  type Message,
  PolicyError,
} from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

function gateWith(options: GateOptions): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock(0)
  return { gate: new Gate({ clock, ...options }), clock }
}

function from(sender: Message['sender'], topic = 't'): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

/** How many messages pass in a row. */
function admitted(gate: Gate, message: Message, most = 30_000): number {
  let count = 0
  while (count < most && (gate.check(message) as Decision).allowed) count++
  return count
}

describe('tiers', () => {
  it.each([
    ['free', 100],
    ['basic', 500],
    ['pro', 2_000],
    ['enterprise', 10_000],
  ])('give %s a burst of %i', (tier, burst) => {
    const { gate } = gateWith({ tiers: {} })
    expect(admitted(gate, from(createSender({ client: 'c', tier })))).toBe(burst)
    expect(gate.check(from({ client: 'c', tier }))).toMatchObject({
      allowed: false,
      rule: `tier:${tier}`,
      limit: burst,
    })
  })

  it.each([
    ['free', 60],
    ['basic', 600],
    ['pro', 3_000],
    ['enterprise', 12_000],
  ])('give %s %i a minute once the burst is spent', (tier, perMinute) => {
    const { gate, clock } = gateWith({ tiers: {} })
    const message = from(createSender({ client: 'c', tier }))
    admitted(gate, message)
    clock.advance(60_000 / perMinute - 1)
    expect(gate.check(message)).toMatchObject({ allowed: false, retryAfterMs: 1 })
    let passed = 0
    for (let i = 0; i < perMinute; i++) {
      clock.advance(i === 0 ? 1 : 60_000 / perMinute)
      passed += admitted(gate, message)
    }
    expect(passed).toBe(perMinute)
  })

  it('leave admin and senders without a tier to the rules', () => {
    const { gate } = gateWith({ tiers: {} })
    gate.use('limited', limit({ name: 'own', rate: '1/s' }))
    expect(admitted(gate, from({ client: 'a', tier: 'admin' }), 20_000)).toBe(20_000)
    expect(admitted(gate, from({ client: 'b' }), 20_000)).toBe(20_000)
    expect(admitted(gate, from({ client: 'a', tier: 'admin' }, 'limited'))).toBe(1)
  })

  it('count each sender by user, else by API key, else by client, over all topics', () => {
    const { gate } = gateWith({ tiers: { free: { limit: '2/s' }, assign: { default: 'free' } } })
    expect(gate.check(from({ client: 'c1', user: 'ann' }, 'a'))).toMatchObject({
      allowed: true,
      remaining: 1,
    })
    expect(gate.check(from({ client: 'c2', user: 'ann' }, 'b'))).toMatchObject({
      allowed: true,
      remaining: 0,
    })
    expect(gate.check(from({ client: 'c3', user: 'ann', apiKey: 'k' }))).toMatchObject({ allowed: false })
    expect(gate.check(from({ client: 'c1', apiKey: 'k' }))).toMatchObject({ allowed: true })
    expect(gate.check(from({ client: 'ann' }))).toMatchObject({ allowed: true, remaining: 1 })
  })

  it('use the default for senders without a known tier', () => {
    const { gate } = gateWith({ tiers: { assign: { default: 'free' } } })
    expect(gate.check(from({ client: 'a', tier: 'platinum' }))).toMatchObject({ rule: 'tier:free' })
    expect(gate.check(from({ client: 'b', tier: '__proto__' }))).toMatchObject({ rule: 'tier:free' })
    expect(gate.check(from({ client: 'c', tier: 'pro' }))).toMatchObject({ rule: 'tier:pro' })
  })

  it('multiply message costs under all rules, to the thousandth', () => {
    const { gate } = gateWith({
      tiers: { half: { cost: 'x0.5' }, odd: { cost: 'x0.001' }, dear: { cost: 'x5' } },
    })
    gate.use('one', limit({ name: 'one', rate: '10/h', per: 'client' }))
    gate.use('shared', limit({ name: 'shared', rate: '10/h' }))
    expect(admitted(gate, from({ client: 'a' }, 'one'))).toBe(10)
    expect(admitted(gate, from({ client: 'b', tier: 'half' }, 'one'))).toBe(20)
    expect(admitted(gate, from({ client: 'c', tier: 'odd' }, 'one'))).toBe(10_000)
    expect(admitted(gate, from({ client: 'd', tier: 'dear' }, 'one'))).toBe(2)
    // One counter for all of them, whatever each pays.
    expect(gate.check(from({ client: 'a' }, 'shared'))).toMatchObject({ remaining: 9 })
    expect(gate.check(from({ client: 'b', tier: 'half' }, 'shared'))).toMatchObject({ remaining: 8 })
    expect(gate.check(from({ client: 'd', tier: 'dear' }, 'shared'))).toMatchObject({ remaining: 3 })
    expect(gate.check(from({ client: 'b', tier: 'half' }, 'shared'))).toMatchObject({ remaining: 3 })
  })

  it("multiply the tier's own limit as well", () => {
    const { gate } = gateWith({ tiers: { half: { limit: '3/h', cost: 'x0.5' } } })
    expect(admitted(gate, from({ client: 'a', tier: 'half' }))).toBe(6)
  })

  it('are available as a scope of rules, including the default', () => {
    const { gate } = gateWith({ tiers: { free: { limit: 'unlimited' }, assign: { default: 'free' } } })
    gate.use(limit({ name: 'by-tier', rate: '2/s', per: 'tier' }))
    gate.check(from({ client: 'a' }))
    gate.check(from({ client: 'b', tier: 'free' }))
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ allowed: false, rule: 'by-tier' })
    expect(gate.check(from({ client: 'd', tier: 'pro' }))).toMatchObject({ allowed: true })
  })

  it('appear in explanations, peeks and rule infos', async () => {
    const { gate } = gateWith({ tiers: {} })
    const message = from({ client: 'a', tier: 'free' })
    const { limits, sender } = await gate.explain(message)
    expect(limits.map(({ rule, limit: most, remaining }) => [rule, most, remaining])).toEqual([
      ['tier:free', 100, 99],
    ])
    expect(sender.tier).toBe('free')
    expect(gate.peek(message)).toMatchObject([{ rule: 'tier:free', remaining: 99 }])
    expect(gate.ruleOf('tier:free')).toMatchObject({ count: 60, capacity: 100 })
    expect(gate.rules()).toEqual(['tier:free', 'tier:basic', 'tier:pro', 'tier:enterprise'])
  })

  it('limit publishes, and neither subscribes nor connects', () => {
    const { gate } = gateWith({ tiers: { free: { limit: '1/h' } } })
    for (const on of ['subscribe', 'connect', 'deliver'] as const) {
      expect(gate.check({ ...from({ client: 'a', tier: 'free' }), on })).toMatchObject({ reason: 'ok' })
    }
  })

  it.each<[TiersSpec, string]>([
    [{ a: { limit: 'often' } }, 'a.limit: "often" is not a rate'],
    [{ a: { limit: '1/s per device' } }, 'a.limit: a tier counts by sender, not per device'],
    [{ a: { limit: '1MB/s' } }, "a.limit: a tier's limit counts messages"],
    [{ a: { cost: '0.5' } }, 'a.cost: "0.5" is not a factor'],
    [{ a: { cost: 'x0.0001' } }, 'a.cost: "x0.0001" is not a factor'],
    [{ a: { cost: 'x0' } }, 'a.cost: "x0" is not a factor'],
    [{ assign: { default: 'gold' } }, 'assign.default: there is no tier "gold"'],
    [{ a: '10/s' as never }, 'a: "10/s" is not a tier (write { limit: 60/min burst 100, cost: x1 })'],
  ])('refuse %j', (spec, message) => {
    expect(() => compileTiers(spec)).toThrow(PolicyError)
    expect(() => compileTiers(spec)).toThrow(message)
  })
})

describe('tiers of a policy', () => {
  it('are assigned by a template', async () => {
    const gate = await Gate.fromPolicy(
      { tiers: { free: { limit: '1/h' }, assign: { from: '{header.tier}', default: 'free' } } },
      { clock: new FakeClock(0) },
    )
    const sender = createSender({ client: 'c' })
    expect(gate.check({ ...from(sender), headers: { tier: 'pro' } })).toMatchObject({ rule: 'tier:pro' })
    expect(gate.check({ ...from(sender), headers: { tier: 'nobody' } })).toMatchObject({ rule: 'tier:free' })
    expect(gate.check(from(sender))).toMatchObject({ allowed: false, rule: 'tier:free' })
    await gate.close()
  })

  it('may change while the gate runs, and usage is kept', async () => {
    const clock = new FakeClock(0)
    const gate = await Gate.fromPolicy({ tiers: { free: { limit: '2/h' } } }, { clock })
    const sender = createSender({ client: 'c', tier: 'free' })
    expect(admitted(gate, from(sender))).toBe(2)
    await gate.apply({ tiers: { free: { limit: '5/h' } } })
    expect(admitted(gate, from(sender))).toBe(3)
    await gate.apply({ rules: [] })
    expect(gate.check(from(sender))).toMatchObject({ allowed: true, reason: 'ok' })
    await gate.close()
  })
})
