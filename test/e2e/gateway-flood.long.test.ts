import type { Socket } from 'node:net'
import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient, type TestClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'
import { startFlood } from './flood.ts'
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts'
import { pause } from './pause.ts'

beforeAll(ensureBuilt, 120_000)

const RATE = 100
const BURST = 100
const COUNT = 100_000
const QUIET_PER_QOS = 10
/** Longest time at the 99th percentile, beyond three times that without a flood: the flooder takes a core. */
const P99_MS = 50
const BASE_MS = 1_500
const THROTTLED_MS = 4_000

/** Publishes to itself ten times a second, and measures until each message has come back. */
class QuietClient {
  readonly #client: TestClient
  readonly #topic: string
  readonly #qos: 0 | 1 | 2
  readonly #sentAtMs: number[] = []
  #latenciesMs: number[] = []
  #received = 0
  readonly #timer: NodeJS.Timeout

  private constructor(client: TestClient, topic: string, qos: 0 | 1 | 2) {
    this.#client = client
    this.#topic = topic
    this.#qos = qos
    client.client.on('message', (_topic, payload) => {
      this.#received++
      this.#latenciesMs.push(performance.now() - this.#sentAtMs[Number(payload.toString())]!)
    })
    this.#timer = setInterval(() => this.#publish(), 100)
  }

  static async connect(port: number, index: number, qos: 0 | 1 | 2): Promise<QuietClient> {
    const clientId = `quiet-${qos}-${index}`
    const client = await connectClient({ port, clientId, protocolVersion: qos === 1 ? 5 : 4 })
    // Else acknowledgements wait 40 ms for each other.
    ;(client.client.stream as Socket).setNoDelay(true)
    const topic = `quiet/${clientId}`
    await client.subscribe(topic, qos)
    return new QuietClient(client, topic, qos)
  }

  /** Returns the latencies of all messages since the last call, once each has come back. */
  async takeLatencies(): Promise<readonly number[]> {
    await until(() => this.#received === this.#sentAtMs.length, {
      what: () => `${this.#sentAtMs.length} messages, not ${this.#received}`,
    })
    const taken = this.#latenciesMs
    this.#latenciesMs = []
    return taken
  }

  #publish(): void {
    this.#sentAtMs.push(performance.now())
    void this.#client.publish(this.#topic, String(this.#sentAtMs.length - 1), { qos: this.#qos })
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** Returns the latency at the 99th percentile of all messages since the last call, each of which has come back. */
async function takeP99(clients: readonly QuietClient[]): Promise<number> {
  const all = await Promise.all(clients.map(client => client.takeLatencies()))
  const latenciesMs = all.flat().toSorted((a, b) => a - b)
  return latenciesMs[Math.floor(latenciesMs.length * 0.99)]!
}

/**
 * Floods the gateway until it has decided about all messages, or for some seconds if it holds them. Returns the most bytes that
 * it has held.
 */
async function flood(gateway: GatewayProcess, exceeded: 'drop' | 'reject' | 'throttle'): Promise<number> {
  const decided = await gateway.readMetric('topicgate_requests_total')
  const flooder = startFlood({
    ...{ port: gateway.port, clients: 1, topic: 'flood', payloadBytes: 64, qos: 0, count: COUNT },
  })
  const endsAtMs = performance.now() + (exceeded === 'throttle' ? THROTTLED_MS : 60_000)
  let heldBytes = 0
  try {
    while (performance.now() < endsAtMs) {
      if ((await gateway.readMetric('topicgate_requests_total')) >= decided + COUNT) break
      heldBytes = Math.max(heldBytes, await gateway.readMetric('topicgate_guard_held_bytes'))
      await pause(50)
    }
  } finally {
    await flooder.end()
  }
  return heldBytes
}

describe('a client that floods the gateway with 100,000 messages', () => {
  it.each(['drop', 'reject', 'throttle'] as const)(
    'with %s gets its rate, and thirty quiet clients lose nothing and wait for nothing',
    async exceeded => {
      using folder = new Folder()
      await using broker = await startMosquitto({ config: ['set_tcp_nodelay true'] })
      const policy = `rules:
  - { name: flood, topic: flood/#, per: client, limit: ${RATE}/s burst ${BURST}, exceeded: ${exceeded} }
`
      await using gateway = await startGatewayProcess(folder, policy, broker.url)
      await using receiver = await connectClient({ port: broker.port })
      let passed = 0
      receiver.client.on('message', () => passed++)
      await receiver.subscribe('flood/#', 0)
      const clients = await Promise.all(
        ([0, 1, 2] as const).flatMap(qos =>
          Array.from({ length: QUIET_PER_QOS }, (_, index) => QuietClient.connect(gateway.port, index, qos)),
        ),
      )
      // A new process compiles its code while it handles its first messages.
      await flood(gateway, exceeded)
      await takeP99(clients)
      await pause(BASE_MS)
      passed = 0
      const baseMs = await takeP99(clients)
      const startedAtMs = performance.now()
      const heldBytes = await flood(gateway, exceeded)
      for (const client of clients) client.stop()
      const p99Ms = await takeP99(clients)
      const seconds = (performance.now() - startedAtMs) / 1_000
      console.info(`${exceeded}: p99 ${p99Ms.toFixed(1)} ms, without a flood ${baseMs.toFixed(1)} ms`)
      expect(passed).toBeGreaterThanOrEqual(BURST)
      expect(passed).toBeLessThanOrEqual(BURST + RATE * (seconds + 1))
      expect(heldBytes).toBeLessThan(1_000_000)
      expect(p99Ms, 'milliseconds at the 99th percentile').toBeLessThan(3 * baseMs + P99_MS)
    },
  )
})
