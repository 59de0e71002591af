import { describe, expect, it } from 'vitest'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { createSender, Gate, limit, type Message, type Middleware, type Sender } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** A Wednesday, noon UTC. */
const NOON_MS = Date.UTC(2026, 0, 14, 12)

/** Advances the clock without running timers, of which the store has a million a week. */
function go(clock: FakeClock, ms: number): void {
  clock.set(clock.now() + ms)
}

interface Scene {
  readonly clock: FakeClock
  readonly gate: Gate
  readonly analytics: Analytics
  send(sender: Sender, topic?: string, times?: number): void
}

function stage(...middleware: Middleware[]): Scene {
  const clock = new FakeClock(NOON_MS)
  const gate = new Gate({ clock })
  if (middleware.length > 0) gate.use(...middleware)
  const analytics = new Analytics({ gate })
  return {
    clock,
    gate,
    analytics,
    send(sender, topic = 'a', times = 1) {
      const message: Message = { topic, on: 'publish', sender, size: 1 }
      for (let time = 0; time < times; time++) void gate.check(message)
    },
  }
}

const threePerDay = (): Middleware =>
  limit({ name: 'three', rate: '3/day', algorithm: 'fixed-window', per: 'client' })

describe('analytics', () => {
  it('counts decisions and blocked ones by client, topic and rule', () => {
    const { send, analytics } = stage(threePerDay())
    const [one, two] = [createSender({ client: 'one' }), createSender({ client: 'two' })]
    send(one, 'x', 10)
    send(two, 'y', 2)
    send(two, 'z', 3)
    expect(analytics.snapshot('1h')).toMatchObject({
      range: '1h',
      total: 15,
      blocked: 9,
      blockRate: 0.6,
      uniqueClients: 2,
      topBlocked: {
        clients: {
          error: 0,
          list: [
            { name: 'one', count: 7 },
            { name: 'two', count: 2 },
          ],
        },
        topics: {
          error: 0,
          list: [
            { name: 'x', count: 7 },
            { name: 'z', count: 2 },
          ],
        },
        rules: { error: 0, list: [{ name: 'three', count: 9 }] },
      },
    })
    expect(analytics.totals()).toEqual({ total: 15, blocked: 9 })
  })

  it('names who exceeds a rule in shadow, but not among the refused', () => {
    const trial = limit({ name: 'trial', rate: '1/day', per: 'client', shadow: true })
    const { send, analytics } = stage(trial, threePerDay())
    for (const user of ['ann', 'bob']) send(createSender({ client: user, user, ip: '192.0.2.1' }), user, 5)
    send(createSender({ client: 'ann', user: 'ann' }), 'other', 1)
    const rules = new Map(analytics.rules().map(rule => [rule.rule, rule]))
    const { shadowRefusals, total, violations } = rules.get('trial')!
    expect([shadowRefusals, total]).toEqual([9, 0])
    const list = (ann: number, bob: number): object => ({
      error: 0,
      list: [ann, bob].map((count, index) => ({ name: ['ann', 'bob'][index], count })),
    })
    expect(violations).toMatchObject({ clients: list(5, 4), users: list(5, 4) })
    expect(rules.get('three')!.violations).toMatchObject({ users: list(3, 2) })
    expect(analytics.snapshot('1h')).toMatchObject({
      blocked: 5,
      topBlocked: { clients: list(3, 2), rules: { list: [{ name: 'three', count: 5 }] } },
    })
  })

  it('is empty at first, and plain JSON', () => {
    const { analytics } = stage()
    const snapshot = analytics.snapshot('7d')
    expect(snapshot).toMatchObject({ total: 0, blocked: 0, blockRate: 0, uniqueClients: 0 })
    expect(snapshot.hourly).toHaveLength(24)
    expect(snapshot.daily).toHaveLength(30)
    expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot)
  })

  it('counts every refusal of a sender with more topics than are gathered', () => {
    const { send, analytics } = stage(limit({ name: 'none', rate: '1/day', per: 'client' }))
    const sender = createSender({ client: 'busy' })
    send(sender, 'first')
    for (let round = 0; round < 5; round++) {
      for (const topic of ['a', 'b', 'c', 'd', 'e', 'f']) send(sender, topic, 2)
    }
    const { clients, topics } = analytics.snapshot().topBlocked
    expect(clients.list).toEqual([{ name: 'busy', count: 60 }])
    expect(topics.list).toEqual(['a', 'b', 'c', 'd', 'e', 'f'].map(name => ({ name, count: 10 })))
  })

  it('counts senders that are frozen, plain, copied or without a name', () => {
    const { send, analytics } = stage(limit({ name: 'one', rate: '1/day' }))
    const plain = { client: 'plain' }
    send(plain, 'a', 3)
    send({ ...plain, client: 'copy' }, 'a', 2)
    const made = createSender({ client: 'made' })
    send(made, 'a', 2)
    send({ ...made, client: 'copy of made' })
    const frozen = Object.freeze({ device: 'frozen' })
    send(frozen, 'a', 2)
    send({ apiKey: 'secret' })
    send({})
    const { total, blocked, uniqueClients, topBlocked } = analytics.snapshot()
    expect([total, blocked, uniqueClients]).toEqual([12, 11, 7])
    expect(new Map(topBlocked.clients.list.map(({ name, count }) => [name, count]))).toEqual(
      new Map([
        ['plain', 2],
        ['copy', 2],
        ['made', 2],
        ['copy of made', 1],
        ['frozen', 2],
        [expect.stringMatching(/^api-key:[\w-]{12}$/), 1],
        ['', 1],
      ]),
    )
    expect(JSON.stringify(analytics.snapshot())).not.toContain('secret')
  })

  it('keeps long names short and distinct, and survives values that are not text', () => {
    const { send, analytics } = stage(limit({ name: 'one', rate: '1/day' }))
    send({})
    for (const end of ['x', 'y'])
      send({ client: `${'c'.repeat(60_000)}${end}` }, `${'t/'.repeat(20_000)}${end}`)
    send({ client: '__proto__' }, '__proto__')
    send({ client: 7 as unknown as string, user: {} as unknown as string, tier: 'constructor' })
    const { clients, topics } = analytics.snapshot().topBlocked
    for (const { name } of [...clients.list, ...topics.list]) expect(name.length).toBeLessThanOrEqual(128)
    expect(clients.list.map(({ name }) => name).sort()).toEqual([
      '',
      '__proto__',
      expect.stringMatching(/^c{115}~/),
      expect.stringMatching(/^c{115}~/),
    ])
    expect(topics.list).toHaveLength(4)
  })

  it('covers an hour in steps of five minutes, a day in hours, a week in days', () => {
    const { clock, send, analytics } = stage(threePerDay())
    const sender = createSender({ client: 'one' })
    send(sender)
    go(clock, 59 * 60_000)
    send(sender)
    expect(analytics.snapshot('1h').total).toBe(2)
    go(clock, 60_000)
    expect(analytics.snapshot('1h')).toMatchObject({ total: 1, fromMs: NOON_MS + 5 * 60_000 })
    expect(analytics.snapshot('24h').total).toBe(2)
    go(clock, 23 * HOUR_MS)
    expect(analytics.snapshot('24h')).toMatchObject({ total: 0, uniqueClients: 0 })
    expect(analytics.snapshot('7d')).toMatchObject({ total: 2, uniqueClients: 1 })
    go(clock, 6 * DAY_MS)
    expect(analytics.snapshot('7d').total).toBe(0)
    expect(analytics.snapshot('7d').daily.filter(({ total }) => total > 0)).toEqual([
      { startMs: NOON_MS - 12 * HOUR_MS, total: 2, blocked: 0, uniqueClients: 1 },
    ])
    go(clock, 24 * DAY_MS)
    expect(analytics.snapshot('7d').daily.every(({ total }) => total === 0)).toBe(true)
  })

  it('rejects an unknown range and lists the valid ones', () => {
    const { analytics } = stage()
    for (const range of ['30d', 'toString', '']) {
      expect(() => analytics.snapshot(range as '1h')).toThrow(/range: .* is not a range \(use 1h, 24h, 7d\)/)
    }
  })

  it('has an hourly history of 24 hours and daily totals of 30 days, oldest first', () => {
    const { clock, send, analytics } = stage(threePerDay())
    clock.set(NOON_MS - 12 * HOUR_MS)
    const senders = Array.from({ length: 40 }, (_, index) => createSender({ client: `c${index}` }))
    for (let day = 0; day < 31; day++) {
      for (let hour = 0; hour < 24; hour++) {
        for (let index = 0; index <= day; index++) send(senders[index]!)
        go(clock, HOUR_MS)
      }
    }
    const { daily, hourly, ...rest } = analytics.snapshot('24h')
    // The month ends at the start of a day without messages.
    expect(daily.map(({ total }) => total)).toEqual([
      ...Array.from({ length: 29 }, (_, index) => 24 * (index + 3)),
      0,
    ])
    expect(daily.slice(0, -1).map(({ total, blocked }) => total - blocked)).toEqual(
      Array.from({ length: 29 }, (_, index) => 3 * (index + 3)),
    )
    expect(hourly.map(({ total }) => total)).toEqual([...Array(23).fill(31), 0])
    expect(rest).toMatchObject({ total: 23 * 31, uniqueClients: 31 })
  })

  it('continues while the clock steps back and forth', () => {
    const { clock, send, analytics } = stage(threePerDay())
    const sender = createSender({ client: 'one' })
    send(sender)
    clock.set(NOON_MS - 10 * HOUR_MS)
    send(sender, 'a', 4)
    clock.set(NOON_MS + 1)
    expect(analytics.snapshot('1h')).toMatchObject({ total: 5, blocked: 2 })
  })

  it('counts asynchronous decisions, and none after close', async () => {
    const later: Middleware = async (_message, next) => next()
    const { send, gate, analytics } = stage(later, threePerDay())
    const sender = createSender({ client: 'one' })
    send(sender, 'a', 5)
    await gate.check({ topic: 'a', on: 'publish', sender, size: 1 })
    await new Promise(setImmediate)
    expect(analytics.totals()).toEqual({ total: 6, blocked: 3 })
    analytics.close()
    await gate.check({ topic: 'a', on: 'publish', sender, size: 1 })
    expect(analytics.totals()).toEqual({ total: 6, blocked: 3 })
  })

  it('identifies clients as the policy does', async () => {
    const clock = new FakeClock(NOON_MS)
    const gate = await Gate.fromPolicy(
      {
        senders: { client: '{topic.device}', tier: '{topic.site}' },
        rules: [{ name: 'one', topic: 'fleet/{site}/{device}', per: 'client', limit: '1/day' }],
      },
      { clock },
    )
    const analytics = new Analytics({ gate })
    const gateway = createSender({ client: 'gateway' })
    for (const topic of ['fleet/s/a', 'fleet/s/b', 'fleet/s/a', 'fleet/t/c', 'fleet/s/a']) {
      void gate.check({ topic, on: 'publish', sender: gateway, size: 1 })
    }
    expect(analytics.snapshot()).toMatchObject({
      total: 5,
      uniqueClients: 3,
      topBlocked: { clients: { list: [{ name: 'a', count: 2 }] } },
    })
    expect(analytics.series().map(({ rule, tier }) => [rule, tier])).toEqual([
      ['', ''],
      ['one', 's'],
      ['one', 't'],
    ])
    await gate.close()
  })

  it('counts the connection as the client if headers identify the sender', async () => {
    const gate = await Gate.fromPolicy(
      {
        senders: { user: '{header.user}' },
        rules: [{ name: 'one', topic: '#', per: 'user', limit: '1/day' }],
      },
      { clock: new FakeClock(NOON_MS) },
    )
    const analytics = new Analytics({ gate })
    const sender = createSender({ client: 'gateway' })
    for (const user of ['a', 'a', 'b', 'a', 'b']) {
      void gate.check({ topic: 't', on: 'publish', sender, size: 1, headers: { user } })
    }
    expect(analytics.snapshot()).toMatchObject({
      total: 5,
      blocked: 3,
      uniqueClients: 1,
      topBlocked: { clients: { list: [{ name: 'gateway', count: 3 }] } },
    })
    await gate.close()
  })

  it('count separately if two observe one gate', () => {
    const { gate, send, analytics } = stage(threePerDay())
    const sender = createSender({ client: 'one' })
    send(sender, 'a', 4)
    const other = new Analytics({ gate })
    send(sender, 'a', 6)
    expect(analytics.snapshot()).toMatchObject({ total: 10, blocked: 7, uniqueClients: 1 })
    expect(other.snapshot()).toMatchObject({
      total: 6,
      blocked: 6,
      uniqueClients: 1,
      topBlocked: { clients: { list: [{ name: 'one', count: 6 }] } },
    })
  })
})
