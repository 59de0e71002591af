import { afterEach, describe, expect, it } from 'vitest'
import {
  createSender,
  type Decision,
  exempt,
  Gate,
  type GateOptions,
  limit,
  type Message,
  PolicyError,
  type Sender,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const open: Gate[] = []
afterEach(async () => {
  for (const gate of open.splice(0)) await gate.close()
})

function connect(sender: Sender): Message {
  return { topic: 'connect', on: 'connect', sender, size: 0 }
}

function gateWith(options: GateOptions): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock(0)
  const gate = new Gate({ clock, ...options })
  open.push(gate)
  return { gate, clock }
}

function reasonsOf(gate: Gate, count: number, sender: (n: number) => Sender): string[] {
  return Array.from({ length: count }, (_, n) => (gate.check(connect(sender(n))) as Decision).reason)
}

const FLAPPING = { block: '60s', flapping: '5 connects in 10s' }

describe('flapping', () => {
  it('is a number of connects of one client within a time: the last one and later ones are refused', () => {
    const { gate, clock } = gateWith({ penalties: FLAPPING })
    const audit: string[] = []
    gate.on('audit', ({ action, id, reason }) => audit.push(`${action} ${id} ${reason}`))
    // Each on a connection of its own.
    expect(reasonsOf(gate, 6, () => createSender({ client: 'c', ip: '10.0.0.1' }))).toEqual([
      ...['ok', 'ok', 'ok', 'ok', 'banned', 'banned'],
    ])
    expect(reasonsOf(gate, 1, () => ({ client: 'd', ip: '10.0.0.1' }))).toEqual(['ok'])
    expect(gate.check(connect({ client: 'c' }))).toEqual({
      ...{ allowed: false, outcome: 'reject', reason: 'banned', retryAfterMs: 60_000 },
    })
    expect(gate.bans.list()).toMatchObject([{ id: 'client:c', reason: 'flapping', code: 'penalty' }])
    clock.advance(60_000)
    expect(reasonsOf(gate, 1, () => ({ client: 'c' }))).toEqual(['ok'])
    expect(audit).toEqual(['added client:c flapping', 'expired client:c its time is over'])
  })

  it('is explained: the result of the next connect, without counting it', async () => {
    const { gate } = gateWith({ penalties: { block: '60s', flapping: '2 connects in 10s' } })
    gate.use(exempt({ clients: ['ops'] }))
    const explained = async (client: string): Promise<string> =>
      (await gate.explain(connect({ client }))).decision.reason
    expect([await explained('c'), await explained('c'), await explained('c')]).toEqual(['ok', 'ok', 'ok'])
    expect(reasonsOf(gate, 1, () => ({ client: 'c' }))).toEqual(['ok'])
    expect([await explained('c'), await explained('c'), await explained('d')]).toEqual([
      'banned',
      'banned',
      'ok',
    ])
    expect(gate.bans.list()).toEqual([])
    expect(reasonsOf(gate, 3, () => ({ client: 'ops' }))).toEqual(Array(3).fill('exempt'))
    expect(await explained('ops')).toBe('exempt')
    expect(reasonsOf(gate, 1, () => ({ client: 'c' }))).toEqual(['banned'])
  })

  it('does not occur if connects are further apart', () => {
    const { gate, clock } = gateWith({ penalties: FLAPPING })
    for (let n = 0; n < 50; n++) {
      expect(reasonsOf(gate, 1, () => ({ client: 'c' }))).toEqual(['ok'])
      clock.advance(2_500)
    }
  })

  it('can be counted by client and by address, with growing blocks', () => {
    const { gate, clock } = gateWith({
      penalties: {
        block: '10s',
        grow: 'x3 up to 1h',
        flapping: ['3 connects in 10s', '6 connects in 10s per ip'],
      },
    })
    const ip = '10.0.0.1'
    expect(reasonsOf(gate, 7, n => ({ client: `c${n}`, ip }))).toEqual([
      ...['ok', 'ok', 'ok', 'ok', 'ok', 'banned', 'banned'],
    ])
    expect(gate.bans.list().map(({ id }) => id)).toEqual(['ip:10.0.0.1/32'])
    expect(reasonsOf(gate, 3, () => ({ client: 'one', ip: '10.0.0.2' }))).toEqual(['ok', 'ok', 'banned'])
    clock.advance(10_000)
    expect(reasonsOf(gate, 3, () => ({ client: 'one', ip: '10.0.0.3' }))).toEqual(['ok', 'ok', 'banned'])
    expect(gate.check(connect({ client: 'one' }))).toMatchObject({ retryAfterMs: 30_000 })
  })

  it('counts a claimed connect by its address, and by the rest once it is confirmed', () => {
    const flapping = ['3 connects in 10s', '6 connects in 10s per ip']
    const { gate } = gateWith({ penalties: { block: '60s', flapping } })
    const claim = (ip: string): { readonly message: Message; readonly reason: string } => {
      const message: Message = { ...connect({ client: 'victim', ip }), claimed: true }
      return { message, reason: (gate.check(message) as Decision).reason }
    }
    // Never authenticated: nothing of the client's.
    expect(Array.from({ length: 7 }, () => claim('10.0.0.1').reason)).toEqual([
      ...['ok', 'ok', 'ok', 'ok', 'ok', 'banned', 'banned'],
    ])
    const confirm = (): string | undefined => gate.confirmConnect(claim('10.0.0.2').message)?.reason
    expect([confirm(), confirm(), confirm()]).toEqual([undefined, undefined, 'banned'])
    expect(gate.bans.list().map(({ id }) => id)).toEqual(['ip:10.0.0.1/32', 'client:victim'])
    const { message } = claim('10.0.0.3')
    expect(gate.confirmConnect(message)).toMatchObject({ reason: 'banned' })
    expect(gate.confirmConnect(connect({ client: 'other' }))).toBeUndefined()
  })

  it('counts no refusals, unless configured as well', () => {
    const rule = limit({ name: 'r', rate: '1/h', per: 'client', exceeded: 'drop' })
    const only = gateWith({ penalties: FLAPPING }).gate.use(rule)
    const both = gateWith({ penalties: { ...FLAPPING, after: '2 refusals in 10s' } }).gate.use(rule)
    const publish: Message = { topic: 't', on: 'publish', sender: createSender({ client: 'c' }), size: 1 }
    for (const gate of [only, both]) for (let n = 0; n < 9; n++) gate.check(publish)
    expect([only, both].map(gate => gate.bans.list().length)).toEqual([0, 1])
  })

  it('counts a delayed connect once, and no exempt sender', () => {
    const { gate } = gateWith({ penalties: FLAPPING })
    gate.use(
      exempt({ clients: ['ops'] }),
      limit({ name: 'r', on: 'connect', rate: '1/h', exceeded: 'throttle' }),
    )
    const waiting = connect(createSender({ client: 'c' }))
    gate.check(waiting)
    for (let n = 0; n < 50; n++) expect(gate.check(waiting)).toMatchObject({ reason: 'rate_limit_exceeded' })
    expect(reasonsOf(gate, 50, () => ({ client: 'ops' }))).toEqual(Array(50).fill('exempt'))
  })

  it.each([
    [{ block: '60s', flapping: '1 connect in 10s' }],
    [{ block: '60s', flapping: '5 connects' }],
    [{ block: '60s', flapping: ['5 connects in 10s per role'] }],
    [{ block: '60s', flapping: '1001 connects in 10s' }],
  ])('is refused as %j', penalties => {
    expect(() => new Gate({ penalties })).toThrow(PolicyError)
  })

  it('is not an option of a single rule', () => {
    expect(() => limit({ name: 'r', rate: '1/s', penalties: FLAPPING })).toThrow(
      'write `flapping` in the `penalties` of the policy',
    )
  })
})

describe('a block that cannot be stored', () => {
  it('is logged, at most once a second, and counted; the sender stays limited', async () => {
    const clock = new FakeClock(0)
    const warnings: Record<string, unknown>[] = []
    const ignore = (): void => {}
    const warn = (context: object, text?: string): void => void warnings.push({ ...context, text })
    const gate = new Gate({
      clock,
      logger: { debug: ignore, info: ignore, error: ignore, warn },
      penalties: { block: '60s', after: '1 refusal in 1s', per: 'ip' },
    }).use(limit({ name: 'r', rate: '1/h', exceeded: 'drop' }))
    open.push(gate)
    // What an adapter may take for an address.
    const sender = createSender({ client: 'c', ip: 'unix socket' })
    const check = (): Decision => gate.check({ topic: 't', on: 'publish', sender, size: 1 }) as Decision
    for (let n = 0; n < 11; n++) check()
    await null
    expect(warnings).toMatchObject([
      { text: 'a sender could not be blocked', suppressed: 0, err: expect.any(PolicyError) },
    ])
    clock.advance(1_000)
    expect(check()).toMatchObject({ allowed: false, reason: 'rate_limit_exceeded' })
    await null
    await null
    expect(warnings.map(({ suppressed }) => suppressed)).toEqual([0, 9])
    expect(gate.bans.list()).toEqual([])
  })
})
