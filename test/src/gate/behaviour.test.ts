import { afterEach, describe, expect, it } from 'vitest'
import {
  adaptive,
  circuitBreaker,
  createSender,
  type Decision,
  Gate,
  type GateOptions,
  limit,
  type Message,
  PolicyError,
  quota,
  type Sender,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 3_600_000
const open: Gate[] = []
afterEach(async () => {
  for (const gate of open.splice(0)) await gate.close()
})

function message(sender: Sender, topic = 't'): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

/** A gate that goes by behaviour, from the first millisecond of an hour on. */
class Scene {
  readonly clock = new FakeClock(0)
  readonly gate: Gate

  constructor(options: GateOptions = {}, rate = '1/h burst 100') {
    this.gate = new Gate({ clock: this.clock, behaviour: {}, ...options })
    this.gate.use('t', limit({ name: 'all', rate, per: 'client', exceeded: 'drop' }))
    this.gate.use('free', limit({ name: 'free', rate: '100000/s', per: 'client', exceeded: 'drop' }))
    open.push(this.gate)
  }

  check(sender: Sender, topic?: string): Decision {
    return this.gate.check(message(sender, topic)) as Decision
  }

  /** How many of so many pass. */
  passed(sender: Sender, count: number, topic?: string): number {
    let passed = 0
    for (let n = 0; n < count; n++) if (this.check(sender, topic).allowed) passed++
    return passed
  }

  /** Ten that pass and eleven that do not, which is abuse; what was used is forgotten. */
  async abuse(sender: Sender): Promise<void> {
    this.passed(sender, 100)
    this.passed(sender, 101)
    await this.gate.reset()
  }
}

describe('behaviour', () => {
  it('that is abusive scales a limit by 0.3, at once and until the end of the next hour', async () => {
    const scene = new Scene()
    const sender = createSender({ client: 'c' })
    await scene.abuse(sender)
    const scaled = { factor: 0.3, reason: 'behaviour abusive' }
    expect(scene.check(sender)).toMatchObject({ limit: 30, remaining: 28, scaled })
    expect(scene.passed(sender, 100)).toBe(29)
    expect(scene.check(sender)).toMatchObject({ allowed: false, limit: 30, remaining: 0, scaled })
    expect(scene.check({ client: 'd' })).toMatchObject({ limit: 100, remaining: 99 })
    expect(scene.check({ client: 'd' })).not.toHaveProperty('scaled')
    await scene.gate.reset()
    scene.clock.advance(2 * HOUR_MS - 1)
    expect(scene.check(sender).limit).toBe(30)
    scene.clock.advance(1)
    expect(scene.check(sender).limit).toBe(100)
  })

  it('that is good scales it by 1.2, in the following hour', async () => {
    const scene = new Scene()
    const sender = createSender({ client: 'c' })
    expect(scene.passed(sender, 10)).toBe(10)
    expect(scene.check(sender)).not.toHaveProperty('scaled')
    scene.clock.advance(HOUR_MS)
    await scene.gate.reset()
    const scaled = { factor: 1.2, reason: 'behaviour good' }
    expect(scene.check(sender)).toMatchObject({ limit: 120, remaining: 118, scaled })
    expect(scene.passed(sender, 200)).toBe(119)
  })

  it('neither returns nor removes used units when it changes', () => {
    const scene = new Scene()
    const sender = createSender({ client: 'c' })
    expect(scene.passed(sender, 50)).toBe(50)
    // Elsewhere 10,000 in an hour: abuse.
    scene.passed(sender, 10_001, 'free')
    // Half of the limit is left, and half of its 0.3 is 15.
    expect(scene.passed(sender, 100)).toBe(15)
  })

  it('does not stay abusive by refusals of the smaller limit', () => {
    const scene = new Scene({}, '100/h')
    const sender = createSender({ client: 'c' })
    scene.passed(sender, 100)
    expect(scene.passed(sender, 101)).toBe(0)
    // At 0.3 of the limit most are refused, hour after hour.
    for (let minute = 0; minute < 120; minute++) {
      scene.clock.advance(60_000)
      scene.check(sender)
    }
    expect(scene.check(sender)).not.toHaveProperty('scaled')
    scene.clock.advance(HOUR_MS)
    // And an hour under it is no good one either.
    expect(scene.check(sender).scaled?.factor).not.toBe(0.3)
  })

  it.each([
    ['abusive', 0.9, 0.3, 'behaviour abusive', 30],
    ['abusive', 0.1, 0.3, 'behaviour abusive', 30],
    ['good', 0.9, 0.5, 'load high', 50],
    ['good', 0.1, 1.5, 'load low', 150],
    ['good', 0.5, 1.2, 'behaviour good', 120],
  ] as const)(
    'if %s under a load of %d scales by x%d: %s',
    async (behaviourLevel, load, factor, reason, room) => {
      const clock = new FakeClock(0)
      const gate = new Gate({ clock, behaviour: {}, load })
      open.push(gate)
      gate.use(adaptive(), limit({ name: 'all', rate: '1/h burst 100', per: 'client', exceeded: 'drop' }))
      const sender = createSender({ client: 'c' })
      const passed = (count: number): number => {
        let all = 0
        for (let n = 0; n < count; n++) if ((gate.check(message(sender)) as Decision).allowed) all++
        return all
      }
      if (behaviourLevel === 'good') passed(20)
      else passed(500)
      clock.advance(HOUR_MS)
      await gate.reset()
      expect(gate.check(message(sender))).toMatchObject({ limit: room, scaled: { factor, reason } })
      expect(passed(1_000)).toBe(room - 1)
    },
  )

  it('reports a third of a limit in whole messages: 4 of 12', async () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock, behaviour: { abusive: 0.5 }, load: 0.1 })
    open.push(gate)
    gate.use(adaptive(), limit({ name: 'all', rate: '1/h burst 8', per: 'client', exceeded: 'drop' }))
    const sender = createSender({ client: 'c' })
    for (let n = 0; n < 30; n++) gate.check(message(sender))
    await gate.reset()
    const left = [1, 2, 3, 4].map(() => (gate.check(message(sender)) as Decision).remaining)
    expect(left).toEqual([3, 2, 1, 0])
    expect(gate.check(message(sender))).toMatchObject({ allowed: false, limit: 4 })
  })

  it('does not scale quotas, tiers and rates of overrides', async () => {
    const scene = new Scene({ tiers: { free: { limit: '1/h burst 77' } } })
    scene.gate.use('t', quota({ name: 'daily', rate: '500/day', per: 'client' }))
    const sender = createSender({ client: 'c', tier: 'free' })
    await scene.abuse(sender)
    const numbers = async (): Promise<unknown> =>
      (await scene.gate.explain(message(sender))).limits.map(each => [
        each.rule,
        each.limit,
        each.scaled?.reason,
      ])
    expect(await numbers()).toEqual([
      ['tier:free', 77, undefined],
      ['all', 30, 'behaviour abusive'],
      ['daily', 500, undefined],
    ])
    await scene.gate.overrides.add({ client: 'c', limit: '1/h burst 55', rules: ['all'], reason: 'test' })
    expect(await numbers()).toContainEqual(['all', 55, undefined])
    await scene.gate.overrides.add({ client: 'c', limit: 'x2', rules: ['all'], reason: 'test' })
    expect(await numbers()).toContainEqual(['all', 60, 'behaviour abusive'])
  })

  it('is the same on all connections of a sender, and is counted by the configured part', async () => {
    const scene = new Scene({ behaviour: { per: 'user', abusive: 0.5, good: 'x1' } })
    await scene.abuse({ client: 'a', user: 'u' })
    expect(scene.check({ client: 'b', user: 'u' }).limit).toBe(50)
    expect(scene.check({ client: 'a', user: 'v' }).limit).toBe(100)
    expect(scene.check({ client: 'a' }).limit).toBe(100)
  })

  it('ignores delayed messages, bans and exempt senders', async () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock, behaviour: {} })
    open.push(gate)
    gate.use(limit({ name: 'all', rate: '1/h burst 10', per: 'client', exceeded: 'throttle' }))
    const sender = createSender({ client: 'c' })
    for (let n = 0; n < 1_000; n++) gate.check(message(sender))
    await gate.bans.add({ client: 'd', reason: 'test' })
    for (let n = 0; n < 1_000; n++) gate.check(message({ client: 'd' }))
    await gate.bans.remove('client:d')
    expect(gate.check(message(sender))).not.toHaveProperty('scaled')
    expect(gate.check(message({ client: 'd' }))).not.toHaveProperty('scaled')
  })

  it('ignores refusals that protect a handler, as do penalties', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock, behaviour: {}, penalties: { block: '1h' } })
    open.push(gate)
    const breaker = circuitBreaker({ exceeded: 'drop', openMs: 1_000 })
    gate.use(breaker.guard, limit({ name: 'all', rate: '1/s', per: 'client' }))
    const sender = createSender({ client: 'c' })
    for (let n = 0; n < 11; n++) breaker.observe(message(sender), false)
    for (let n = 0; n < 100; n++) gate.check(message(sender))
    expect(gate.check(message(sender))).toMatchObject({ reason: 'handler_failing', rule: 'breaker' })
    clock.advance(1_000)
    const passed = gate.check(message(sender))
    expect(passed).toMatchObject({ allowed: true, limit: 1 })
    expect(passed).not.toHaveProperty('scaled')
    expect(gate.bans.list()).toEqual([])
  })

  it('can be set by a policy, and a reload changes it', async () => {
    const clock = new FakeClock(0)
    const rules = [{ name: 'all', limit: '1/h burst 100', per: 'client', exceeded: 'drop' }]
    const gate = await Gate.fromPolicy({ behaviour: { abusive: 0.1 }, rules }, { clock })
    open.push(gate)
    const sender = createSender({ client: 'c' })
    for (let n = 0; n < 201; n++) gate.check(message(sender))
    expect(gate.check(message(sender))).toMatchObject({ limit: 10, scaled: { factor: 0.1 } })
    await gate.apply({ behaviour: {}, rules })
    expect(gate.check(message(sender))).toMatchObject({ limit: 30, scaled: { factor: 0.3 } })
    await gate.apply({ rules })
    expect(gate.check(message(sender))).not.toHaveProperty('scaled')
  })

  it.each([
    [{ good: 0.9 }, 'behaviour.good: x0.9 would lower the limits of good senders'],
    [{ abusive: 2 }, 'behaviour.abusive: x2 would raise the limits of abusive senders'],
    [{ abusive: 'none' }, 'behaviour.abusive: "none" is not a factor'],
    [{ per: 'role' }, 'behaviour.per: "role" is not a part of a sender'],
  ])('is refused as %j', (behaviour, text) => {
    expect(() => new Gate({ behaviour: behaviour as never })).toThrow(PolicyError)
    expect(() => new Gate({ behaviour: behaviour as never })).toThrow(text)
  })
})
