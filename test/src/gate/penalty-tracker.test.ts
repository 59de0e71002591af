import { afterEach, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  createSender,
  type Decision,
  Gate,
  type GateOptions,
  limit,
  type Message,
  PolicyError,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const open: Gate[] = []
afterEach(async () => {
  for (const gate of open.splice(0)) await gate.close()
})

function gateWith(options: GateOptions): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock(0)
  const gate = new Gate({ clock, ...options }).use(
    limit({ name: 'r', rate: '1/h', per: 'client', exceeded: 'drop' }),
  )
  open.push(gate)
  return { gate, clock }
}

function from(sender: Message['sender'], topic = 't'): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

function ask(gate: Gate, sender: Message['sender'], topic?: string): Decision {
  return gate.check(from(sender, topic)) as Decision
}

describe('penalties', () => {
  it('block a sender after a number of refusals within a time', () => {
    const { gate, clock } = gateWith({ penalties: { block: '60s', after: '3 refusals in 10s' } })
    const sender = createSender({ client: 'c' })
    expect(ask(gate, sender).allowed).toBe(true)
    expect([1, 2, 3].map(() => ask(gate, sender).reason)).toEqual(Array(3).fill('rate_limit_exceeded'))
    expect(ask(gate, sender)).toEqual({
      allowed: false,
      outcome: 'reject',
      reason: 'banned',
      retryAfterMs: 60_000,
    })
    expect(ask(gate, { client: 'c' }).reason).toBe('banned')
    expect(ask(gate, { client: 'd' }).allowed).toBe(true)
    expect(gate.bans.list()).toMatchObject([
      { id: 'client:c', code: 'penalty', addedBy: 'penalties', expiresAtMs: 60_000 },
    ])
    clock.advance(60_000)
    expect(ask(gate, sender).reason).toBe('rate_limit_exceeded')
  })

  it('count no refusal older than the time', () => {
    const { gate, clock } = gateWith({ penalties: { block: '60s', after: '3 refusals in 10s' } })
    const sender = createSender({ client: 'c' })
    for (let i = 0; i < 10; i++) {
      ask(gate, sender)
      clock.advance(5_000)
    }
    expect(gate.bans.list()).toEqual([])
    clock.advance(5_000)
    for (let i = 0; i < 3; i++) {
      ask(gate, sender)
      clock.advance(4_999)
    }
    expect(gate.bans.list()).toHaveLength(1)
  })

  it('grow with each consecutive block up to the maximum, and shrink one step at a time', () => {
    const { gate, clock } = gateWith({
      penalties: { block: '10s', after: '1 refusal in 1s', grow: 'x2 up to 1m' },
    })
    const sender = createSender({ client: 'c' })
    const lengths: number[] = []
    ask(gate, sender)
    const offend = (): void => {
      ask(gate, sender)
      lengths.push(ask(gate, sender).retryAfterMs)
    }
    for (let i = 0; i < 5; i++) {
      offend()
      clock.advance(lengths.at(-1)!)
    }
    expect(lengths).toEqual([10_000, 20_000, 40_000, 60_000, 60_000])
    // Five in a row; two spans of quiet as long as the last block take two of them back: the next is the fourth.
    clock.advance(2 * 60_000)
    offend()
    clock.advance(60_000)
    clock.advance(3 * 60_000)
    offend()
    expect(lengths.slice(5)).toEqual([60_000, 20_000])
  })

  it('ignore delayed, redirected and exempt senders', () => {
    const { gate } = gateWith({ penalties: { block: '60s' } })
    for (const exceeded of ['throttle', 'queue', 'latest', 'degrade'] as const) {
      gate.use(exceeded, limit({ name: exceeded, rate: '1/h', exceeded }))
      for (let i = 0; i < 5; i++) gate.check({ ...from({ client: 'x' }, exceeded), on: 'publish' })
    }
    gate.use('shadow', limit({ name: 'shadow', rate: '1/h', shadow: true }))
    expect(gate.bans.list().map(({ id }) => id)).toEqual(['client:x'])
  })

  it('of the policy and of a rule never count withheld deliveries', () => {
    const { gate } = gateWith({ penalties: { block: '60s', after: '1 refusals in 10s' } })
    const penalties = { block: '60s', after: '1 refusals in 10s' }
    gate.use('a', limit({ name: 'plain', on: 'deliver', rate: '1/h', per: 'client', exceeded: 'drop' }))
    gate.use('b', limit({ name: 'own', on: 'deliver', rate: '1/h', exceeded: 'disconnect', penalties }))
    const deliver = (topic: string): Decision =>
      gate.check({ topic, on: 'deliver', sender: { client: 'c' }, size: 1 }) as Decision
    for (const topic of ['a', 'b']) {
      expect([1, 2, 3].map(() => deliver(topic).reason)).toEqual([
        ...['ok', 'rate_limit_exceeded', 'rate_limit_exceeded'],
      ])
    }
    expect(gate.bans.list()).toEqual([])
  })

  it('count claimed connects against the address alone', () => {
    const { gate } = gateWith({ penalties: { block: '60s', after: '2 refusals in 10s', per: 'client' } })
    gate.use(limit({ name: 'c', on: 'connect', rate: '1/h', per: 'ip', exceeded: 'reject' }))
    const claim = (ip: string | undefined): Decision =>
      gate.check({
        ...{ topic: 'connect', on: 'connect', size: 0, claimed: true },
        sender: { client: 'victim', user: 'victim', ip },
      }) as Decision
    for (let n = 0; n < 5; n++) claim('10.0.0.1')
    for (let n = 0; n < 5; n++) claim(undefined)
    expect(gate.bans.list().map(({ id }) => id)).toEqual(['ip:10.0.0.1/32'])
  })

  it('may belong to one rule', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock })
    open.push(gate)
    gate.use(
      'a',
      limit({
        name: 'a',
        rate: '1/h',
        per: 'client',
        penalties: { block: '5s', after: '2 refusals in 1s', per: 'ip' },
      }),
    )
    gate.use('b', limit({ name: 'b', rate: '1/h', per: 'client' }))
    const sender = createSender({ client: 'c', ip: '10.0.0.1' })
    for (let i = 0; i < 9; i++) ask(gate, sender, 'b')
    expect(gate.bans.list()).toEqual([])
    for (let i = 0; i < 3; i++) ask(gate, sender, 'a')
    expect(ask(gate, { client: 'other', ip: '10.0.0.1' }, 'b')).toMatchObject({
      reason: 'banned',
      retryAfterMs: 5_000,
    })
    expect(gate.bans.list()).toMatchObject([{ id: 'ip:10.0.0.1/32', reason: 'refused 2 times by a' }])
  })

  it('stop flapping: connects are a rule like any other', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock }).use(
      limit({
        name: 'connects',
        on: 'connect',
        rate: '3/min',
        per: 'ip',
        penalties: { block: '10m', after: '2 refusals in 1m', per: 'ip' },
      }),
    )
    open.push(gate)
    const connect = (n: number): Decision =>
      gate.check({
        topic: 'connect',
        on: 'connect',
        sender: { client: `c${n}`, ip: '10.0.0.1' },
        size: 0,
      }) as Decision
    expect(Array.from({ length: 7 }, (_, n) => connect(n).reason)).toEqual([
      ...['ok', 'ok', 'ok', 'rate_limit_exceeded', 'rate_limit_exceeded', 'banned', 'banned'],
    ])
  })

  it('separate and bound the senders they count', () => {
    const { gate } = gateWith({ penalties: { block: '1h', after: '2 refusals in 1m' } })
    const spent = (client: string): void => {
      ask(gate, { client })
      ask(gate, { client })
    }
    spent('first')
    for (let i = 0; i < MAX_SIZES.offenders; i++) spent(`c${i}`)
    // The first was forgotten for all those after it: its next refusal is the first again.
    ask(gate, { client: 'first' })
    expect(gate.bans.list()).toEqual([])
    ask(gate, { client: 'first' })
    expect(gate.bans.list()).toHaveLength(1)
    const long = 'x'.repeat(70_000)
    for (let i = 0; i < 4; i++) ask(gate, { client: long })
    expect(ask(gate, { client: long }).reason).toBe('banned')
  })

  it('can be set in a policy and changed by a reload', async () => {
    const clock = new FakeClock(0)
    const rules = [{ name: 'r', limit: '1/h', per: 'client' }]
    const gate = await Gate.fromPolicy({ rules, penalties: { block: '60s' } }, { clock })
    open.push(gate)
    ask(gate, { client: 'c' })
    ask(gate, { client: 'c' })
    expect(ask(gate, { client: 'c' }).reason).toBe('banned')
    await gate.apply({ rules })
    for (let i = 0; i < 3; i++) ask(gate, { client: 'd' })
    expect(ask(gate, { client: 'd' }).reason).toBe('rate_limit_exceeded')
  })

  it.each([
    [{ block: '60s', after: '0 refusals in 1s' }],
    [{ block: '60s', after: '1001 refusals in 1s' }],
    [{ block: '60s', grow: 'x0.5 up to 1h' }],
    [{ block: '60s', grow: 'x2 up to 10s' }],
    [{ block: 'x' }],
    [{ block: '60s', per: 'role' }],
  ])('are refused as %j', penalties => {
    expect(() => new Gate({ penalties: penalties as never })).toThrow(PolicyError)
  })
})
