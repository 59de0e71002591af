import { afterEach, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  createSender,
  type Decision,
  Gate,
  type GateOptions,
  LeasedStore,
  limit,
  MemoryStore,
  type Message,
  PolicyError,
  quota,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const open: Gate[] = []
afterEach(async () => {
  for (const gate of open.splice(0)) await gate.close()
})

function gateAt(options: GateOptions = {}): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock(0)
  const gate = new Gate({ clock, ...options })
  open.push(gate)
  return { gate, clock }
}

function from(sender: Message['sender'], topic = 't'): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

function admitted(gate: Gate, message: Message, most = 1_000): number {
  let count = 0
  while (count < most && (gate.check(message) as Decision).allowed) count++
  return count
}

describe('an override', () => {
  it('lifts all limits, names itself as the reason, and ends to the millisecond', async () => {
    const { gate, clock } = gateAt()
    gate.use(limit({ name: 'r', rate: '2/h', per: 'client' }))
    const sender = createSender({ client: 'c', user: 'ann' })
    expect(admitted(gate, from(sender))).toBe(2)
    await gate.overrides.add({ user: 'ann', limit: 'unlimited', reason: 'emergency', for: '1m' })
    expect(gate.check(from(sender))).toEqual({
      allowed: true,
      outcome: 'deliver',
      reason: 'override',
      retryAfterMs: 0,
    })
    expect(admitted(gate, from(sender))).toBe(1_000)
    clock.advance(59_999)
    expect(gate.check(from(sender))).toMatchObject({ reason: 'override' })
    clock.advance(1)
    expect(gate.check(from(sender))).toMatchObject({ allowed: false, rule: 'r' })
  })

  it.each([
    ['x5', 10, 10],
    ['x1.5', 3, 3],
    ['x0.1', 1, 1],
    ['7/h', 7, 7],
    ['7/h burst 9', 9, 9],
  ])('of %s lets %i pass', async (text, count, most) => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'r', rate: '2/h', per: 'client' }))
    await gate.overrides.add({ client: 'c', limit: text, reason: 'x' })
    expect(gate.check(from({ client: 'c' }))).toMatchObject({
      allowed: true,
      reason: 'override',
      rule: 'r',
      limit: most,
    })
    expect(admitted(gate, from({ client: 'c' }))).toBe(count - 1)
    expect(gate.check(from({ client: 'c' }))).toMatchObject({
      allowed: false,
      reason: 'rate_limit_exceeded',
      rule: 'r',
    })
    expect(admitted(gate, from({ client: 'd' }))).toBe(2)
  })

  it('has separate counts, and returns nothing when it ends', async () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'all', rate: '3/h' }))
    admitted(gate, from({ client: 'a' }))
    await gate.overrides.add({ client: 'vip', limit: 'x2', reason: 'x' })
    expect(admitted(gate, from({ client: 'vip' }))).toBe(6)
    expect(gate.check(from({ client: 'a' }))).toMatchObject({ allowed: false })
    await gate.overrides.remove('client:vip')
    expect(gate.check(from({ client: 'vip' }))).toMatchObject({ allowed: false })
  })

  it('applies to named rules only, if any; the latest one applies to each', async () => {
    const { gate, clock } = gateAt({ tiers: { free: { limit: '4/h' } } })
    gate.use(limit({ name: 'a', rate: '2/h' }), limit({ name: 'b', rate: '3/h' }))
    const sender = createSender({ client: 'c', tier: 'free' })
    await gate.overrides.add({ client: 'c', limit: 'unlimited', rules: ['a'], reason: 'x' })
    expect(admitted(gate, from(sender))).toBe(3)
    expect(gate.check(from(sender))).toMatchObject({ allowed: false, rule: 'b' })
    clock.advance(1)
    await gate.overrides.add({ ip: '10.0.0.0/8', limit: 'x100', reason: 'x' })
    const other = createSender({ client: 'c', tier: 'free', ip: '10.0.0.1' })
    expect(admitted(gate, from(other))).toBe(200)
    clock.advance(1)
    await gate.overrides.add({ client: 'c', limit: 'unlimited', rules: ['a', 'b', 'tier:free'], reason: 'x' })
    expect(gate.check(from(sender))).toMatchObject({ allowed: true, reason: 'override' })
  })

  it('applies to quotas, and keeps their calendar', async () => {
    const { gate, clock } = gateAt()
    gate.use(quota({ name: 'q', rate: '2/day', per: 'client' }))
    await gate.overrides.add({ client: 'c', limit: 'x3', reason: 'x' })
    await gate.overrides.add({ client: 'd', limit: '4/day', reason: 'x' })
    clock.advance(12 * 3_600_000)
    expect(admitted(gate, from({ client: 'c' }))).toBe(6)
    expect(gate.check(from({ client: 'c' }))).toMatchObject({
      reason: 'quota_exceeded',
      retryAfterMs: 12 * 3_600_000,
    })
    expect(admitted(gate, from({ client: 'd' }))).toBe(4)
    expect(gate.check(from({ client: 'd' }))).toMatchObject({
      reason: 'quota_exceeded',
      retryAfterMs: 12 * 3_600_000,
    })
  })

  it('works with custom middleware and on an asynchronous store', async () => {
    const clock = new FakeClock(0)
    const { gate } = gateAt({ clock, store: new LeasedStore({ store: new MemoryStore({ clock }), clock }) })
    gate.use(limit({ name: 'a', rate: '2/h' }), (_message, next) => next(), limit({ name: 'b', rate: '3/h' }))
    await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
    let passed = 0
    while ((await gate.check(from({ client: 'c' }))).allowed) passed++
    expect(passed).toBe(4)
    await gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'x' })
    expect(await gate.check(from({ client: 'c' }))).toMatchObject({ allowed: true, reason: 'override' })
  })

  it('appears in explanations and peeks with the numbers of decisions', async () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'r', rate: '2/h' }))
    await gate.overrides.add({ client: 'c', limit: 'x5', reason: 'x' })
    const { limits, decision } = await gate.explain(from({ client: 'c' }))
    expect(limits).toMatchObject([{ rule: 'r', limit: 10, remaining: 9 }])
    expect(decision).toEqual(gate.check(from({ client: 'c' })))
    await gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'x' })
    expect((await gate.explain(from({ client: 'c' }))).decision).toEqual(gate.check(from({ client: 'c' })))
  })

  it.each([
    [{ client: 'c', limit: 'much' }, 'limit: "much" is not a rate'],
    [{ client: 'c', limit: 'x0' }, 'limit: "x0" is not a factor'],
    [{ client: 'c', limit: '5/s per device' }, 'limit: "per device" is part of the limit'],
    [{ client: 'c', limit: 'x2', rules: ['q'] }, 'rules: there is no rule "q"'],
    [{ limit: 'x2' }, 'no sender is named'],
  ])('is refused as %j', async (options, message) => {
    const { gate } = gateAt()
    await expect(gate.overrides.add({ ...options, reason: 'x' })).rejects.toThrow(message)
  })

  it('is reset together with its rule', async () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'r', rate: '2/h', per: 'client' }))
    await gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })
    expect([admitted(gate, from({ client: 'c' })), admitted(gate, from({ client: 'd' }))]).toEqual([4, 2])
    expect(await gate.reset({ rule: 'r', key: 'c' })).toBe(1)
    expect([admitted(gate, from({ client: 'c' })), admitted(gate, from({ client: 'd' }))]).toEqual([4, 0])
    expect(await gate.reset({ rule: 'r' })).toBe(2)
    expect([admitted(gate, from({ client: 'c' })), admitted(gate, from({ client: 'd' }))]).toEqual([4, 2])
  })

  it('is bounded in number', async () => {
    const { gate } = gateAt()
    for (let i = 0; i < MAX_SIZES.sharedEntries; i++)
      await gate.overrides.add({ client: `c${i}`, limit: 'x2', reason: 'x' })
    await expect(gate.overrides.add({ client: 'c', limit: 'x2', reason: 'x' })).rejects.toBeInstanceOf(
      PolicyError,
    )
    await gate.overrides.add({ client: 'c7', limit: 'x3', reason: 'in the place of another' })
    expect(gate.overrides.list()).toHaveLength(MAX_SIZES.sharedEntries)
  }, 120_000)
})

describe('a runtime exemption', () => {
  it('lets messages of its lists and conditions pass, until it ends', async () => {
    const { gate, clock } = gateAt()
    gate.use(limit({ name: 'r', rate: '1/h', per: 'client' }))
    const sender = createSender({ client: 'c' })
    gate.check(from(sender))
    await gate.exemptions.add({ name: 'batch', clients: ['c'], reason: 'night run', for: 1_000 })
    expect(gate.check(from(sender))).toMatchObject({ allowed: true, reason: 'exempt', exemption: 'batch' })
    expect(gate.check(from({ client: 'd' }))).toMatchObject({ rule: 'r' })
    expect((await gate.explain(from(sender))).exemptions).toMatchObject([{ name: 'batch', exempts: true }])
    clock.advance(1_000)
    expect(gate.check(from(sender))).toMatchObject({ allowed: false, rule: 'r' })
  })

  it('may have its own limit, and survives a change of the policy', async () => {
    const clock = new FakeClock(0)
    const gate = await Gate.fromPolicy({ rules: [{ name: 'r', limit: '1/h' }] }, { clock })
    open.push(gate)
    await gate.exemptions.add({ name: 'some', topics: ['t'], limit: '2/h', reason: 'x' })
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ reason: 'exempt' })
    await gate.apply({ rules: [{ name: 'r', limit: '2/h' }] })
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ reason: 'exempt' })
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ reason: 'ok', rule: 'r' })
  })

  it('is refused without a name, without lists, or with a name of the policy', async () => {
    const clock = new FakeClock(0)
    const policy = {
      exempt: [{ name: 'taken', topics: ['x'], limit: '1/h' }],
      rules: [{ name: 'r', limit: '1/h' }],
    }
    const gate = await Gate.fromPolicy(policy, { clock })
    open.push(gate)
    for (const wrong of [
      { clients: ['c'] },
      { name: 'all' },
      { name: 'taken', clients: ['c'], limit: '1/h' },
    ]) {
      await expect(gate.exemptions.add({ ...wrong, reason: 'x' } as never)).rejects.toBeInstanceOf(
        PolicyError,
      )
    }
    expect(gate.exemptions.list()).toEqual([])
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ rule: 'r' })
  })
})

describe('a tier assigned at run time', () => {
  it('takes precedence over the sender until it ends', async () => {
    const { gate, clock } = gateAt({ tiers: { free: { limit: '1/h' } } })
    const sender = createSender({ client: 'c', user: 'ann', tier: 'free' })
    expect(admitted(gate, from(sender))).toBe(1)
    await gate.tiers.add({ user: 'ann', tier: 'pro', reason: 'paid', for: '1d' })
    expect(gate.check(from(sender))).toMatchObject({ allowed: true, rule: 'tier:pro' })
    clock.advance(86_400_000 - 1)
    expect(gate.check(from(sender))).toMatchObject({ rule: 'tier:pro' })
    clock.advance(1)
    expect(gate.check(from(sender))).toMatchObject({ rule: 'tier:free' })
    await expect(gate.tiers.add({ user: 'ann', tier: 'free', reason: 'x', for: 'soon' })).rejects.toThrow(
      'for: "soon" is not a duration',
    )
    await expect(gate.tiers.add({ user: 'ann', tier: 'gold', reason: 'x' })).rejects.toThrow(
      'there is no tier "gold"',
    )
  })

  it('last applies, even in the same millisecond', async () => {
    const { gate } = gateAt({ tiers: {} })
    const message = from({ client: 'c', user: 'ann' })
    for (const [subject, tier] of [
      [{ user: 'ann' }, 'pro'],
      [{ client: 'c' }, 'free'],
      [{ user: 'ann' }, 'basic'],
    ] as const) {
      await gate.tiers.add({ ...subject, tier, reason: 'x' })
      expect(gate.check(message)).toMatchObject({ rule: `tier:${tier}` })
    }
  })
})
