import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { createSender, Gate, type Message, type Middleware } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { random } from '../../support/random.ts'
import { zipf } from './zipf.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function usedBytes(): number {
  for (let times = 0; times < 3; times++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const MESSAGES = 1_000_000
const CLIENTS = 200_000

it('for a million messages of 200,000 clients reports totals, distinct clients and the most refused, in less than 20 MB', {
  timeout: 300_000,
}, () => {
  const clock = new FakeClock()
  // One message in four is refused, by one of two rules.
  const dice = random(7)
  const refuse: Middleware = (_message, next) =>
    dice.chance(0.75)
      ? next()
      : {
          allowed: false,
          outcome: 'drop',
          reason: 'rate_limit_exceeded',
          rule: dice.chance(0.1) ? 'rare' : 'often',
          retryAfterMs: 1,
        }
  const gate = new Gate({ clock }).use(refuse)
  const messages = Array.from({ length: CLIENTS }, (_, index): Message => {
    const topic = `fleet/site-${index % 50}/device-${index}/telemetry`
    return {
      topic,
      on: 'publish',
      sender: createSender({ client: `client-${index}`, ip: '192.0.2.1' }),
      size: 1,
    }
  })
  // The gate's own memory is allocated before that of the analytics.
  for (const message of messages) void gate.check(message)
  const beforeBytes = usedBytes()
  const analytics = new Analytics({ gate })

  const refused = new Uint32Array(CLIENTS)
  const seen = new Uint8Array(CLIENTS)
  const draw = zipf(CLIENTS, 11)
  let [blocked, rare] = [0, 0]
  for (let count = 0; count < MESSAGES; count++) {
    if (count % 1_000 === 0) clock.set(clock.now() + 4_000)
    // One in five in turn, so that every client sends.
    const index = count % 5 === 0 ? count / 5 : draw()
    seen[index] = 1
    const decision = gate.check(messages[index]!)
    if (decision instanceof Promise || decision.allowed) continue
    refused[index]!++
    blocked++
    if (decision.rule === 'rare') rare++
  }
  const snapshot = analytics.snapshot('24h')
  const usedNow = usedBytes() - beforeBytes

  expect(snapshot).toMatchObject({ total: MESSAGES, blocked })
  expect(analytics.totals()).toEqual({ total: MESSAGES, blocked })
  const clients = seen.reduce((sum, one) => sum + one, 0)
  expect(clients).toBe(CLIENTS)
  expect(Math.abs(snapshot.uniqueClients - clients) / clients).toBeLessThan(0.02)
  const worst = Array.from(refused, (count, index) => ({ count, index }))
    .sort((a, b) => b.count - a.count)
    .slice(0, 10)
  const { clients: top, topics, rules } = snapshot.topBlocked
  expect(top.list.map(({ name }) => name)).toEqual(worst.map(({ index }) => `client-${index}`))
  expect(topics.list.map(({ name }) => name)).toEqual(worst.map(({ index }) => messages[index]!.topic))
  for (const [index, { count }] of top.list.entries()) {
    expect(count).toBeGreaterThanOrEqual(worst[index]!.count)
    expect(count - top.error).toBeLessThanOrEqual(worst[index]!.count)
  }
  expect(rules).toEqual({
    error: 0,
    list: [
      { name: 'often', count: blocked - rare },
      { name: 'rare', count: rare },
    ],
  })
  expect(analytics.rules().map(({ rule, denied }) => [rule, denied])).toEqual([
    ['often', blocked - rare],
    ['rare', rare],
  ])
  expect(usedNow).toBeLessThan(20_000_000)
})

it('reports the most refused of 100,000 senders, though only some refusals are counted by name', () => {
  const refuse: Middleware = () => ({
    allowed: false,
    outcome: 'drop',
    reason: 'rate_limit_exceeded',
    rule: 'all',
    retryAfterMs: 1,
  })
  const gate = new Gate({ clock: new FakeClock() }).use(refuse)
  const analytics = new Analytics({ gate })
  const messages = Array.from(
    { length: 100_000 },
    (_, index): Message => ({
      topic: `site/${index % 4}`,
      on: 'publish',
      sender: createSender({ client: `client-${index}` }),
      size: 1,
    }),
  )
  const dice = random(3)
  for (let count = 0; count < 400_000; count++) {
    // The ten most refused arrive when all runs are in use.
    const isWorst = count > 200_000 && count % 10 === 0
    void gate.check(messages[isWorst ? dice.int(99_000, 99_009) : dice.int(0, 98_999)]!)
  }
  const { total, blocked, uniqueClients, topBlocked } = analytics.snapshot()
  expect([total, blocked]).toEqual([400_000, 400_000])
  expect(topBlocked.rules).toEqual({ error: 0, list: [{ name: 'all', count: 400_000 }] })
  expect(Math.abs(uniqueClients - 97_500) / 97_500).toBeLessThan(0.02)
  // 2,000 each.
  expect(topBlocked.clients.list.map(({ name }) => name).sort()).toEqual(
    Array.from({ length: 10 }, (_, index) => `client-${99_000 + index}`),
  )
  for (const { count } of topBlocked.clients.list) expect(Math.abs(count - 2_000)).toBeLessThan(400)
  for (const { count } of topBlocked.topics.list) expect(Math.abs(count - 100_000)).toBeLessThan(5_000)
  expect(topBlocked.topics.list).toHaveLength(4)
})

it('stays under 20 MB when each name of a month is new and of maximum length', () => {
  const clock = new FakeClock()
  const refuse: Middleware = message => ({
    allowed: false,
    outcome: 'drop',
    reason: 'rate_limit_exceeded',
    rule: `rule ${message.size}`,
    retryAfterMs: 1,
  })
  const gate = new Gate({ clock }).use(refuse)
  const analytics = new Analytics({ gate })
  const beforeBytes = usedBytes()
  let count = 0
  const flood = (messages: number): void => {
    for (let times = 0; times < messages; times++) {
      const name = `${count++}-`.padEnd(MAX_SIZES.analyticsNameChars, 'x')
      const sender = { client: name, user: `u${name.slice(1)}`, ip: `i${name.slice(1)}` }
      void gate.check({ topic: `t${name.slice(1)}`, on: 'publish', sender, size: count % 200 })
    }
  }
  for (let day = 0; day < 8; day++) {
    flood(2 * MAX_SIZES.analyticsNamesPerInterval)
    clock.set(clock.now() + 86_400_000)
  }
  for (let hour = 0; hour < 24; hour++) {
    flood(2 * MAX_SIZES.analyticsNamesPerInterval)
    clock.set(clock.now() + 3_600_000)
  }
  for (let slice = 0; slice < 12; slice++) {
    flood(2 * MAX_SIZES.analyticsNamesPerInterval)
    clock.set(clock.now() + 300_000)
  }
  flood(3 * MAX_SIZES.pendingRefusalSeries)
  const used = usedBytes() - beforeBytes
  expect(analytics.totals()).toEqual({ total: count, blocked: count })
  expect(used).toBeLessThan(20_000_000)
})
