import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import type { GroupCount } from '../../src/cli/simulation/group-counts.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startFleet } from '../support/fleet.ts'
import { connectClient } from '../support/mqtt-client.ts'
import type { Program } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'
import { startFlood } from './flood.ts'

beforeAll(ensureBuilt, 120_000)

const EVERY_MS = 500
/** What a busy machine may be late. */
const LATE_MS = 20_000
/** A process that does nothing else has its timers this late, on average: the machine is busy with others. */
const STARVED_MS = 40

/** A device within its limits, which loses nothing. */
const QUIET = `
for: 10m
fleet: [{ name: quiet, topic: from/quiet, qos: 1, send: { every: 150ms }, expect: { delivered: 100% } }]
`

/** Goes by the broker's own event loop: what other processes do on this machine hardly shows there. */
const POLICY = `version: 1
exempt:
  - { name: free, topics: ["free/#"] }
adaptive: { levels: { normal: 1 up to 70%, high: 0.5 }, signals: [event-loop], every: ${EVERY_MS}ms }
rules:
  - { name: all, per: client, limit: 40/s burst 40, exceeded: drop }
`

interface Change {
  readonly factor: number
  readonly reason?: string
  /** By the broker's clock, which is this machine's. */
  readonly time: string
}

/** What the broker has logged of its factor. */
function changesOf(broker: Program): readonly Change[] {
  const lines = broker.stdout.split('\n').slice(0, -1)
  return lines.filter(line => line.includes('scaled by the load')).map(line => JSON.parse(line) as Change)
}

it('topicgate broker lowers its limits under a flood, raises them after it, and takes nothing from a quiet device', async () => {
  using folder = new Folder()
  await using broker = startCommand('broker', folder.file('policy.yaml', POLICY), '--port', '0')
  const port = Number((await logged(broker, /ready/)).port)
  await using subscriber = await connectClient({ port, clientId: 'watch' })
  await subscriber.subscribe('from/#', 1)
  const heard = (topic: string): number => subscriber.messages.filter(each => each.topic === topic).length
  const factor = (): number => changesOf(broker).at(-1)?.factor ?? 1
  await using quiet = startFleet(QUIET, `mqtt://127.0.0.1:${port}`)
  const delays = monitorEventLoopDelay({ resolution: 20 })
  delays.enable()
  const isStarved = (): boolean => delays.mean / 1e6 - 20 > STARVED_MS

  // What starting takes is not a load. On a machine that starves the broker its limits are low from the beginning.
  await sleep(3 * EVERY_MS)
  delays.reset()
  await sleep(3 * EVERY_MS)
  await until(() => factor() === 1 || isStarved(), { timeoutMs: 60_000, what: 'rest' })
  const before = changesOf(broker).length
  const isFree = factor() === 1

  await using spotter = await connectClient({ port, clientId: 'spotter' })
  await spotter.subscribe('free/#')
  const flood = startFlood({ port, clients: 4, topic: 'free', payloadBytes: 100, qos: 0, count: 0 })
  try {
    await spotter.received(1)
    const beginMs = Date.now()
    await spotter.close()
    await until(() => factor() === 0.5, { timeoutMs: 60_000 * EVERY_MS + LATE_MS, what: 'lower limits' })
    if (isFree) {
      const lowered = changesOf(broker)[before]!
      expect(lowered).toMatchObject({ factor: 0.5, reason: 'load high' })
      expect(Date.parse(lowered.time) - beginMs).toBeLessThan(2 * EVERY_MS + LATE_MS)
    }
    await using greedy = await connectClient({ port, clientId: 'greedy' })
    const greedyMs = performance.now()
    // At once: one after another, the pause of a sender that was refused would stand between each two.
    await Promise.all(Array.from({ length: 100 }, () => greedy.publish('from/greedy', 'x', { qos: 1 })))
    // Half of 40, and half of 40 a second.
    const most = 20 + ((performance.now() - greedyMs) / 1_000) * 20 + 1
    expect(factor()).toBe(0.5)
    await flood.end()
    delays.reset()
    const endMs = Date.now()
    await until(() => factor() === 1 || (Date.now() - endMs > 5_000 && isStarved()), {
      timeoutMs: 60_000,
      what: 'limits as they are written',
    })
    const wasStarved = isStarved()
    await sleep(4 * EVERY_MS)
    // One step up and one down.
    if (!wasStarved && isFree) {
      expect(changesOf(broker).length - before).toBeLessThanOrEqual(4)
      expect(factor()).toBe(1)
    }
    const [{ messages, delivered, disordered }] = (await quiet.end()) as [GroupCount]
    expect({ delivered, disordered }).toEqual({ delivered: messages, disordered: 0 })
    expect(messages).toBeGreaterThan(20)
    expect(heard('from/greedy')).toBeGreaterThanOrEqual(20)
    expect(heard('from/greedy')).toBeLessThanOrEqual(most)
  } finally {
    delays.disable()
    await flood.end()
  }
})

it('two of them on one Redis go by the load of the one that is flooded, until it is gone', async () => {
  using folder = new Folder()
  const redis = await startRedis()
  const start = (node: string): Program => {
    const policy = POLICY.replace('every:', `across: fleet, node: ${node}, every:`)
    return startCommand(
      'broker',
      folder.file(`${node}.yaml`, `${policy}store: ${redis.url}\n`),
      '--port',
      '0',
    )
  }
  await using a = start('a')
  await using b = start('b')
  const ports = await Promise.all([a, b].map(async broker => Number((await logged(broker, /ready/)).port)))
  const delays = monitorEventLoopDelay({ resolution: 20 })
  delays.enable()
  const isStarved = (): boolean => delays.mean / 1e6 - 20 > STARVED_MS
  // The first message starts the measuring.
  for (const port of ports) {
    await using client = await connectClient({ port })
    await client.publish('from/first', 'x', { qos: 1 })
  }
  await sleep(3 * EVERY_MS)
  delays.reset()
  const flood = startFlood({
    port: ports[1]!,
    clients: 4,
    topic: 'free',
    payloadBytes: 100,
    qos: 0,
    count: 0,
  })
  try {
    const reasons = (): readonly (string | undefined)[] => changesOf(a).map(({ reason }) => reason)
    const isLowered = (): boolean => reasons().at(-1) === 'load high of node b'
    await until(() => isLowered() || (isStarved() && reasons().at(-1) === 'load high'), {
      timeoutMs: 4 * EVERY_MS + 3 * LATE_MS,
      what: 'lower limits of the other',
    })
    if (isLowered()) {
      await using greedy = await connectClient({ port: ports[0]!, clientId: 'greedy' })
      await greedy.subscribe('from/greedy', 1)
      const beginMs = performance.now()
      await Promise.all(Array.from({ length: 60 }, () => greedy.publish('from/greedy', 'x', { qos: 1 })))
      const most = 20 + ((performance.now() - beginMs) / 1_000) * 20 + 1
      const passed = (await greedy.received(20)).length
      expect(passed).toBeLessThanOrEqual(most)
    }
    // Gone without a word.
    b.signal('SIGKILL')
    await flood.end()
    delays.reset()
    const endMs = Date.now()
    const factor = (): number => changesOf(a).at(-1)?.factor ?? 1
    await until(() => factor() === 1 || (Date.now() - endMs > 5_000 && isStarved()), {
      timeoutMs: 60_000,
      what: 'limits as they are written',
    })
  } finally {
    delays.disable()
    await flood.end()
    await a[Symbol.asyncDispose]()
    await redis.stop()
  }
})
