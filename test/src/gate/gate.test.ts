import { describe, expect, it } from 'vitest'
import {
  createSender,
  exempt,
  Gate,
  limit,
  MemoryStore,
  type Message,
  type Middleware,
  quota,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function publish(
  topic: string,
  sender: Message['sender'] = { client: 'c1' },
  more: Partial<Message> = {},
): Message {
  return { topic, on: 'publish', sender, size: 10, ...more }
}

function gateAt(nowMs = 1_000_000): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock(nowMs)
  return { gate: new Gate({ clock }), clock }
}

describe('custom middleware', () => {
  it('receives sender, time and captures from the gate', async () => {
    const clock = new FakeClock(5_000)
    const policy = {
      senders: { device: '{topic.unit}' },
      rules: [{ name: 'r', topic: 'fleet/{unit}/#', limit: '1/s' }],
    }
    const gate = await Gate.fromPolicy(policy, { clock })
    const seen: unknown[] = []
    gate.use('fleet/{site}/{unit}/#', (_message, next, { sender, nowMs, captures }) => {
      seen.push(sender.device, nowMs, Object.fromEntries(captures))
      return next()
    })
    gate.use((_message, next, { captures }) => {
      seen.push(captures.size)
      return next()
    })
    await gate.check(publish('fleet/berlin/d7/t'))
    expect(seen).toEqual(['berlin', 5_000, { site: 'berlin', unit: 'd7' }, 0])
  })

  it('can return its own reason', () => {
    const { gate } = gateAt()
    gate.use(() => ({ allowed: false, outcome: 'drop', reason: 'maintenance', retryAfterMs: 1_000 }))
    expect(gate.checkSync(publish('a')).reason).toBe('maintenance')
  })
})

describe('a gate', () => {
  it('treats an undefined option as missing', async () => {
    const policy = { dialect: 'nats', rules: [{ name: 'all', topic: 'a.>', limit: '1/s' }] }
    const options = { dialect: undefined, clock: undefined, logger: undefined, store: undefined }
    const gate = await Gate.fromPolicy(policy, options)
    expect(gate.dialect).toBe('nats')
    await gate.close()
  })

  it('lets messages without a rule pass', () => {
    const { gate } = gateAt()
    expect(gate.check(publish('a/b'))).toEqual({
      allowed: true,
      outcome: 'deliver',
      reason: 'ok',
      retryAfterMs: 0,
    })
  })

  it('answers a new sender on an empty topic', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'all', rate: '1/s' }))
    expect(gate.check(publish('', createSender({ client: 'c' })))).toMatchObject({ rule: 'all' })
  })

  it('answers synchronously, and reports the rule, the remainder and the wait', () => {
    const { gate, clock } = gateAt()
    gate.use('fleet/+/#', limit({ name: 'telemetry', rate: '2/s', per: 'client', exceeded: 'drop' }))
    const sender = createSender({ client: 'd1' })
    expect(gate.check(publish('fleet/a/t', sender))).toEqual({
      allowed: true,
      outcome: 'deliver',
      reason: 'ok',
      rule: 'telemetry',
      limit: 2,
      remaining: 1,
      retryAfterMs: 0,
      resetMs: 500,
    })
    gate.check(publish('fleet/a/t', sender))
    expect(gate.check(publish('fleet/a/t', sender))).toEqual({
      allowed: false,
      outcome: 'drop',
      reason: 'rate_limit_exceeded',
      rule: 'telemetry',
      limit: 2,
      remaining: 0,
      retryAfterMs: 500,
      resetMs: 1000,
    })
    clock.advance(499)
    expect(gate.check(publish('fleet/a/t', sender))).toMatchObject({ allowed: false, retryAfterMs: 1 })
    clock.advance(1)
    expect(gate.check(publish('fleet/a/t', sender))).toMatchObject({ allowed: true })
  })

  it('counts the same key for different sender objects', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'one', rate: '1/s', per: 'client' }))
    expect(gate.check(publish('t', { client: 'x' }))).toMatchObject({ allowed: true })
    expect(gate.check(publish('t', Object.freeze({ client: 'x' })))).toMatchObject({ allowed: false })
    expect(gate.check(publish('t', createSender({ client: 'x' })))).toMatchObject({ allowed: false })
    expect(gate.check(publish('t', { client: 'y' }))).toMatchObject({ allowed: true })
  })

  it('distinguishes a copy of a sender from the original', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'one', rate: '1/s', per: 'client' }))
    const first = { client: 'x' }
    gate.check(publish('t', first))
    expect(gate.check(publish('t', { ...first, client: 'y' }))).toMatchObject({ allowed: true })
  })

  it('charges all limits of a message or none, and reports the harshest outcome and the longest wait', () => {
    const { gate } = gateAt()
    gate.use(
      limit({ name: 'wide', rate: '10/s', per: 'client', exceeded: 'throttle' }),
      limit({ name: 'narrow', rate: '1 per 10s', per: 'client', exceeded: 'drop' }),
      limit({ name: 'global', rate: '1 per 20s', exceeded: 'throttle' }),
    )
    expect(gate.check(publish('t'))).toMatchObject({ allowed: true, rule: 'narrow', remaining: 0 })
    for (let refusals = 0; refusals < 20; refusals++) {
      expect(gate.check(publish('t'))).toMatchObject({
        outcome: 'drop',
        rule: 'narrow',
        retryAfterMs: 20_000,
      })
    }
    const left = gate.peek(publish('t')) as readonly { rule?: string; remaining?: number }[]
    expect(left.find(({ rule }) => rule === 'wide')).toMatchObject({ allowed: true, remaining: 8 })
  })

  it('reports shadow rules and refuses nothing for them', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'trial', rate: '1/s', shadow: true }), limit({ name: 'real', rate: '5/s' }))
    expect(gate.check(publish('t'))).toMatchObject({ allowed: true, rule: 'real' })
    expect(gate.check(publish('t'))).toMatchObject({
      allowed: true,
      rule: 'real',
      remaining: 3,
      shadow: ['trial'],
    })
  })

  it('delivers messages above a degrading rule in degraded form', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'thin', rate: '1/s', exceeded: 'degrade' }))
    gate.check(publish('t'))
    expect(gate.check(publish('t'))).toMatchObject({
      allowed: true,
      outcome: 'degrade',
      rule: 'thin',
      retryAfterMs: 0,
    })
  })

  it('counts by captures, combinations, headers and networks', () => {
    const { gate } = gateAt()
    gate.use('fleet/{site}/{device}/#', limit({ name: 'site', rate: '1/s', per: ['site', 'ip/24'] }))
    gate.use('tenants/#', limit({ name: 'tenant', rate: '1/s', per: 'header.tenant' }))
    expect(gate.check(publish('fleet/a/1/x', { ip: '10.0.0.1' }))).toMatchObject({ allowed: true })
    expect(gate.check(publish('fleet/a/2/y', { ip: '10.0.0.9' }))).toMatchObject({ allowed: false })
    expect(gate.check(publish('fleet/b/2/y', { ip: '10.0.0.9' }))).toMatchObject({ allowed: true })
    expect(gate.check(publish('fleet/a/2/y', { ip: '10.0.1.9' }))).toMatchObject({ allowed: true })
    const sender = { client: 'one' }
    expect(gate.check(publish('tenants/x', sender, { headers: { tenant: 'a' } }))).toMatchObject({
      allowed: true,
    })
    expect(gate.check(publish('tenants/x', sender, { headers: { tenant: 'b' } }))).toMatchObject({
      allowed: true,
    })
    expect(gate.check(publish('tenants/x', sender, { headers: { tenant: 'a' } }))).toMatchObject({
      allowed: false,
    })
  })

  it('checks a subscription by the text of its filter', () => {
    const { gate } = gateAt()
    gate.use('fleet/{site}/#', limit({ name: 'subs', rate: '1/min', per: 'client', on: 'subscribe' }))
    const subscribe = (topic: string): Message => ({ ...publish(topic), on: 'subscribe' })
    expect(gate.check(subscribe('fleet/+/x'))).toMatchObject({ allowed: true, rule: 'subs' })
    expect(gate.check(subscribe('fleet/a/#'))).toMatchObject({ allowed: false })
    expect(gate.check(publish('fleet/a/x'))).toMatchObject({ allowed: true, reason: 'ok' })
  })

  it('counts per device by the captured level if the broker knows no device', () => {
    const { gate } = gateAt()
    gate.use('fleet/{device}/#', limit({ name: 'r', rate: '1/s', per: 'device' }))
    expect(gate.check(publish('fleet/a/x', { ip: '10.0.0.1' }))).toMatchObject({ allowed: true })
    expect(gate.check(publish('fleet/b/x', { ip: '10.0.0.1' }))).toMatchObject({ allowed: true })
    expect(gate.check(publish('fleet/a/y', { ip: '10.0.0.2' }))).toMatchObject({ allowed: false })
  })

  it('refuses for ever messages that can never pass', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'bytes', rate: '1kB/s' }))
    expect(gate.check(publish('t', {}, { size: 5_000 }))).toMatchObject({
      allowed: false,
      retryAfterMs: Infinity,
    })
    expect(gate.check(publish('t', {}, { size: 1_000 }))).toMatchObject({ allowed: true, remaining: 0 })
  })

  it('reports quota_exceeded for a quota', () => {
    const { gate } = gateAt(Date.UTC(2026, 2, 29, 0, 30))
    gate.use(quota({ name: 'daily', rate: '1/day', zone: 'Europe/Berlin' }))
    gate.check(publish('t'))
    expect(gate.check(publish('t'))).toMatchObject({
      reason: 'quota_exceeded',
      rule: 'daily',
      retryAfterMs: (23 * 60 - 90) * 60_000,
    })
  })
})

describe('exemptions', () => {
  it('pass by topic, client, role and address, before any limit', () => {
    const { gate } = gateAt()
    gate.use(
      exempt({
        name: 'house',
        topics: ['admin/#'],
        clients: ['batch'],
        roles: ['admin'],
        ips: ['10.0.0.0/8'],
      }),
    )
    gate.use(limit({ name: 'none', rate: '1 per 1h' }))
    gate.check(publish('t'))
    for (const message of [
      publish('admin/x'),
      publish('t', { client: 'batch' }),
      publish('t', { roles: ['user', 'admin'] }),
      publish('t', { ip: '::ffff:10.1.2.3' }),
    ]) {
      expect(gate.check(message)).toEqual({
        allowed: true,
        outcome: 'deliver',
        reason: 'exempt',
        retryAfterMs: 0,
        exemption: 'house',
      })
    }
    expect(gate.check(publish('t', { client: 'other', ip: '11.0.0.1' }))).toMatchObject({ allowed: false })
  })

  it('are evaluated for each message if they have a condition', () => {
    const { gate } = gateAt()
    gate.use(exempt({ name: 'small', when: { size: { max: 5 } } }), limit({ name: 'none', rate: '1 per 1h' }))
    const sender = createSender({ client: 'c' })
    gate.check(publish('t', sender))
    expect(gate.check(publish('t', sender, { size: 5 }))).toMatchObject({ reason: 'exempt' })
    expect(gate.check(publish('t', sender, { size: 6 }))).toMatchObject({ allowed: false })
  })

  it('with a limit of their own let no more pass', () => {
    const { gate } = gateAt()
    const urgent = { payload: () => ({ priority: 'emergency' }) }
    gate.use(
      exempt({
        name: 'urgent',
        when: { payload: { field: 'priority', equals: 'emergency' } },
        limit: '2/min per client',
      }),
      limit({ name: 'none', rate: '1 per 1h', per: 'client' }),
    )
    const decisions = Array.from({ length: 4 }, () => gate.check(publish('t', { client: 'a' }, urgent)))
    expect(decisions.map(decision => (decision as { reason: string }).reason)).toEqual([
      'exempt',
      'exempt',
      'ok',
      'rate_limit_exceeded',
    ])
  })
})

describe('custom middleware', () => {
  it('keeps its position in the chain and may return a decision', () => {
    const { gate } = gateAt()
    const ban: Middleware = (message, next) =>
      message.sender.client === 'bad'
        ? { allowed: false, outcome: 'disconnect', reason: 'banned', retryAfterMs: 0 }
        : next()
    gate.use('a/#', limit({ name: 'first', rate: '10/s' }), ban, limit({ name: 'second', rate: '5/s' }))
    expect(gate.check(publish('a/b', { client: 'bad' }))).toMatchObject({ outcome: 'disconnect' })
    expect(gate.check(publish('a/b', { client: 'good' }))).toMatchObject({ rule: 'second', remaining: 4 })
    const left = gate.peek(publish('a/b')) as readonly { rule?: string; remaining?: number }[]
    expect(left[0], 'what the refused message had taken is given back').toMatchObject({
      rule: 'first',
      remaining: 8,
    })
  })

  it('may be asynchronous, and calling next twice charges once', async () => {
    const { gate } = gateAt()
    const slow: Middleware = async (_message, next) => {
      await next()
      return next()
    }
    gate.use(slow, limit({ name: 'only', rate: '5/s' }))
    expect(await gate.check(publish('t'))).toMatchObject({ rule: 'only', remaining: 4 })
    expect(await gate.check(publish('t'))).toMatchObject({ rule: 'only', remaining: 3 })
  })
})

describe('the order of the chain', () => {
  it('is that of the calls, adjusted by priorities, without disabled rules', async () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'a', rate: '5/s' }), limit({ name: 'b', rate: '5/s', priority: 1 }))
    gate.use(limit({ name: 'off', rate: '1/s', enabled: false }), limit({ name: 'free', rate: 'unlimited' }))
    const explained = await gate.explain(publish('t'))
    expect(explained.limits.map(({ rule }) => rule)).toEqual(['b', 'a'])
    expect(gate.check(publish('t'))).toMatchObject({ rule: 'b' })
  })

  it('charges a rule once even if two of its patterns match', () => {
    const { gate } = gateAt()
    const rule = limit({ name: 'r', rate: '5/s' })
    gate.use('a/#', rule).use('+/b', rule)
    expect(gate.check(publish('a/b'))).toMatchObject({ remaining: 4 })
  })

  it('refuses duplicate names and unknown scopes', () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'r', rate: '5/s' }))
    expect(() => gate.use(limit({ name: 'r', rate: '6/s' }))).toThrow('two rules are called "r"')
    expect(() => gate.use('a/{x}', limit({ name: 's', rate: '6/s', per: 'y' }))).toThrow(
      'neither a scope nor a capture',
    )
  })
})

describe('events', () => {
  it('are emitted for each decision, and a listener that throws affects no message', () => {
    const { gate } = gateAt()
    const seen: string[] = []
    gate.on('decision', (decision, message) => {
      seen.push(`${message.topic} ${decision.outcome}`)
      throw new Error('of the listener')
    })
    gate.use(limit({ name: 'r', rate: '1/s', exceeded: 'drop' }))
    gate.check(publish('t'))
    gate.check(publish('t'))
    expect(seen).toEqual(['t deliver', 't drop'])
  })

  it('reach each listener as often as it was added and not removed, in that order', () => {
    const { gate } = gateAt()
    const seen: string[] = []
    const listener = (name: string) => (): void => {
      seen.push(name)
      throw new Error(name)
    }
    const [first, second] = [listener('first'), listener('second')]
    gate.on('decision', first).on('decision', second).on('decision', first)
    gate.check(publish('t'))
    expect(seen.splice(0)).toEqual(['first', 'second', 'first'])
    gate.off('decision', first)
    gate.check(publish('t'))
    expect(seen.splice(0)).toEqual(['first', 'second'])
    gate.off('decision', first).off('decision', second).off('decision', second)
    gate.check(publish('t'))
    expect(seen).toEqual([])
  })

  it('are counted with the sender state before they are emitted; a counter that throws has no effect', () => {
    const { gate } = gateAt()
    const seen: string[] = []
    const end = gate.countBy({
      count(decision, message, senderState) {
        seen.push(`counted ${decision.outcome} ${senderState.identity === message.sender}`)
        throw new Error('of the counter')
      },
    })
    gate.on('decision', () => seen.push('told'))
    gate.check(publish('t'))
    end()
    gate.check(publish('t'))
    expect(seen).toEqual(['counted deliver true', 'told', 'told'])
  })

  it('warn when a rule has more keys than its maximum', () => {
    const clock = new FakeClock(1_000)
    const gate = new Gate({ clock, store: new MemoryStore({ clock, maxKeysPerRule: 4 }) })
    const warnings: object[] = []
    gate.on('warning', warning => warnings.push(warning))
    gate.use(limit({ name: 'r', rate: '5/min', per: 'client' }))
    for (let index = 0; index < 10; index++) gate.check(publish('t', { client: `c${index}` }))
    clock.advance(2_000)
    expect(warnings).toEqual([{ kind: 'table_full', rule: 'r', keys: 4, evictions: 6, overflows: 0 }])
  })
})

describe('reset', () => {
  it('forgets one key, one rule or all, and returns the number', async () => {
    const { gate } = gateAt()
    gate.use(limit({ name: 'a', rate: '1/h', per: 'client' }), limit({ name: 'b', rate: '1/h' }))
    const sender = { client: 'x' }
    gate.check(publish('t', sender))
    expect(gate.check(publish('t', sender))).toMatchObject({ allowed: false })
    expect(await gate.reset({ rule: 'a', key: 'x' })).toBe(1)
    expect(gate.check(publish('t', sender))).toMatchObject({ allowed: false, rule: 'b' })
    expect(await gate.reset()).toBe(2)
    expect(gate.check(publish('t', sender))).toMatchObject({ allowed: true })
  })
})
