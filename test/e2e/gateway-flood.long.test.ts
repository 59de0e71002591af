import { describe, expect, it } from 'vitest'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import type { ExceededWord } from '../../src/outcomes/exceeded.ts'
import { startGateway, type TestGateway } from '../brokers/mqtt-gateway/harness.ts'
import { until } from '../support/wait.ts'
import { startFlood } from './flood.ts'
import { pause } from './pause.ts'

const RATE = 100
const BURST = 100
const COUNT = 100_000
const QUIET_PER_QOS = 10
/** Longest time at the 99th percentile, beyond three times that without a flood: the flooder takes a core. */
const P99_MS = 50
const BASE_MS = 3_000

interface QuietClient {
  readonly latenciesMs: number[]
  readonly lost: number
}

function p99Of(clients: readonly QuietClient[]): number {
  const latenciesMs = clients.flatMap(client => client.latenciesMs).toSorted((a, b) => a - b)
  return latenciesMs[Math.floor(latenciesMs.length * 0.99)]!
}

/** Lets thirty clients publish quietly while `run` is in progress. */
async function besideQuietClients(
  scene: TestGateway,
  run: () => Promise<void>,
): Promise<readonly QuietClient[]> {
  let isOver = false
  const quiet = ([0, 1, 2] as const).flatMap(qos =>
    Array.from({ length: QUIET_PER_QOS }, (_, index) =>
      publishQuietly(scene, `quiet-${qos}-${index}`, qos, () => isOver),
    ),
  )
  try {
    await run()
  } finally {
    isOver = true
  }
  return Promise.all(quiet)
}

/** Publishes to itself ten times a second until the flood is over; measures until each message has come back. */
async function publishQuietly(
  scene: TestGateway,
  name: string,
  qos: 0 | 1 | 2,
  isOver: () => boolean,
): Promise<QuietClient> {
  const client = await scene.connect({ clientId: name, protocolVersion: qos === 1 ? 5 : 4 })
  await client.subscribe(`quiet/${name}`, qos)
  const sentAtMs: number[] = []
  const latenciesMs: number[] = []
  client.client.on('message', (_topic, payload) =>
    latenciesMs.push(performance.now() - sentAtMs[Number(payload.toString())]!),
  )
  while (!isOver()) {
    sentAtMs.push(performance.now())
    void client.publish(`quiet/${name}`, String(sentAtMs.length - 1), { qos })
    await pause(100)
  }
  await until(() => latenciesMs.length >= sentAtMs.length)
  return { latenciesMs, lost: sentAtMs.length - latenciesMs.length }
}

describe('a client that floods the gateway with 100,000 messages', () => {
  it.each(['drop', 'reject', 'throttle'] as ExceededWord[])(
    'with %s gets its rate, and thirty quiet clients lose nothing and wait for nothing',
    async exceeded => {
      const gate = new Gate().use(
        'flood/#',
        limit({ name: 'r', rate: `${RATE}/s burst ${BURST}`, per: 'client', exceeded }),
      )
      await using scene = await startGateway({ gate })
      const receiver = await scene.connectDirectly()
      let passed = 0
      receiver.client.on('message', () => passed++)
      await receiver.subscribe('flood/#', 0)
      const base = await besideQuietClients(scene, () => pause(BASE_MS))
      const startedAtMs = performance.now()
      const passedMs = (): number => performance.now() - startedAtMs
      let heldBytes = 0
      const clients = await besideQuietClients(scene, async () => {
        const flood = startFlood({
          ...{ port: scene.port, clients: 1, topic: 'flood', payloadBytes: 64, qos: 0, count: COUNT },
        })
        const isDone = (): boolean =>
          exceeded === 'throttle' ? passedMs() > 8_000 : scene.gateway.stats().dropped + passed >= COUNT
        try {
          while (!isDone() && passedMs() < 60_000) {
            heldBytes = Math.max(heldBytes, scene.gateway.stats().heldBytes)
            await pause(50)
          }
        } finally {
          await flood.end()
        }
      })
      const seconds = passedMs() / 1_000
      expect(clients.map(({ lost }) => lost)).toEqual(clients.map(() => 0))
      expect(passed).toBeGreaterThanOrEqual(BURST)
      expect(passed).toBeLessThanOrEqual(BURST + RATE * (seconds + 1))
      expect(heldBytes).toBeLessThan(1_000_000)
      expect(p99Of(clients), 'milliseconds at the 99th percentile').toBeLessThan(3 * p99Of(base) + P99_MS)
    },
  )
})
