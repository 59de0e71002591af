import { connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import mqttPacket from 'mqtt-packet'
import { expect, it } from 'vitest'
import type { LimitBrokerOptions } from '../../brokers/aedes/index.ts'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import type { ExceededWord } from '../../src/outcomes/exceeded.ts'
import { eventually, startBroker, type TestBroker } from '../brokers/aedes/harness.ts'
import { type Random, random } from '../support/random.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const PACKETS = Number(process.env.TOPICGATE_FUZZ_PACKETS ?? 20_000)
const CLIENTS = 4
const MESSAGE_IDS = 12
const MOST_UNSENT_BYTES = 262_144
const GROWTH_BYTES = 48_000_000
const QOS = [0, 1, 2] as const

type Cell = readonly [ExceededWord, LimitBrokerOptions]
const CELLS: readonly Cell[] = [
  ['drop', {}],
  ['drop', { skimRefused: false }],
  ['reject', { dropGateMs: 0 }],
  ['drop', { disconnectAfter: 200 }],
  ['throttle', { maxHeldPerSender: 64 }],
  ['queue', { maxHeldPerSender: 64 }],
  ['latest', {}],
  ['disconnect', {}],
]

const publishOn = (
  topic: string,
  qos: 0 | 1 | 2,
  more: Partial<mqttPacket.IPublishPacket> = {},
): mqttPacket.IPublishPacket => ({
  ...{ cmd: 'publish', topic, payload: 'x', qos, retain: false, dup: false },
  ...more,
})

/** Sends whatever packets a client may send, in any order, cut and joined anyhow, over one connection after another. */
class FuzzClient {
  sent = 0
  connects = 0
  readonly #port: number
  readonly #random: Random
  readonly #id: string
  #socket: Socket | undefined
  #isReady = false

  constructor(port: number, seed: number) {
    this.#port = port
    this.#random = random(seed)
    this.#id = `fuzz-${seed}`
  }

  async step(): Promise<void> {
    const { chance, int } = this.#random
    const socket = this.#socket
    if (
      socket === undefined ||
      socket.destroyed ||
      socket.writableLength > MOST_UNSENT_BYTES ||
      chance(0.01)
    ) {
      await this.#connect()
      return
    }
    if (!this.#isReady) {
      // Packets before the CONNACK are queued by aedes, a few of them.
      if (chance(0.9)) await new Promise(resolve => setTimeout(resolve, 1))
      else this.#connect().catch(() => {})
      return
    }
    const count = chance(0.1) ? int(50, 400) : int(1, 20)
    const bytes = Buffer.concat(Array.from({ length: count }, () => mqttPacket.generate(this.#makePacket())))
    this.sent += count
    if (chance(0.6)) {
      socket.write(bytes)
    } else {
      for (let at = 0; at < bytes.length; ) {
        const end = at + int(1, chance(0.5) ? 7 : 900)
        socket.write(bytes.subarray(at, end))
        at = end
        if (chance(0.3)) await new Promise(resolve => setImmediate(resolve))
      }
    }
    if (chance(0.02)) socket.end()
  }

  /** Leaves the earlier connection open at times: the broker then takes it over. */
  async #connect(): Promise<void> {
    const { chance, int } = this.#random
    if (chance(0.7)) this.#socket?.destroy()
    const socket = connect(this.#port, '127.0.0.1')
    this.#socket = socket
    this.#isReady = false
    socket.on('error', () => {})
    socket.once('data', () => {
      if (this.#socket === socket) this.#isReady = true
    })
    socket.resume()
    this.connects++
    socket.write(
      mqttPacket.generate({
        ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, keepalive: int(0, 1) * 60 },
        clientId: this.#id,
        clean: chance(0.5),
        ...(chance(0.7) && {
          will: { topic: 'f/will', payload: Buffer.from('will'), qos: this.#random.pick(QOS), retain: false },
        }),
      }),
    )
    await new Promise(resolve => socket.once('connect', resolve).once('close', resolve))
  }

  #makePacket(): mqttPacket.Packet {
    const { chance, int, pick } = this.#random
    const messageId = int(1, MESSAGE_IDS)
    const payload = 'p'.repeat(chance(0.02) ? int(1_000, 20_000) : int(0, 40))
    const kind = int(0, 99)
    if (kind < 50) return publishOn('f/zero', 0, { payload })
    if (kind < 60) return publishOn('f/other', pick(QOS), { payload, messageId, retain: chance(0.2) })
    if (kind < 65) return publishOn('f/one', 1, { payload, messageId, dup: chance(0.4) })
    if (kind < 72) return publishOn('f/two', 2, { payload, messageId })
    // Either aedes has it, and it is free and not delivered; or it is charged.
    if (kind < 80) return publishOn('f/again', 2, { payload, messageId, dup: true })
    if (kind < 93) return { cmd: 'pubrel', messageId }
    if (kind < 95) return { cmd: pick(['puback', 'pubrec', 'pubcomp']), messageId }
    if (kind < 97) return { cmd: 'pingreq' }
    if (kind < 98)
      return { cmd: 'subscribe', messageId, subscriptions: [{ topic: `s/${int(0, 9)}`, qos: 1 }] }
    if (kind < 99) return { cmd: 'unsubscribe', messageId, unsubscriptions: [`s/${int(0, 9)}`] }
    return chance(0.1) ? { cmd: 'disconnect' } : { cmd: 'pingreq' }
  }

  end(): void {
    this.#socket?.destroy()
  }
}

/** Publishes numbers to itself as long as the fuzzing goes on; all have to come back, once and in order. */
async function behave(test: TestBroker, qos: 0 | 1 | 2, isOver: () => boolean): Promise<void> {
  // A client for each QoS: aedes keeps no order across them.
  const client = await test.connect({ clientId: `good-${qos}` })
  const seen: number[] = []
  client.on('message', (_topic, payload) => seen.push(Number(payload.toString())))
  await client.subscribeAsync(`good/${qos}`, { qos: 2 })
  let count = 0
  const acknowledged: Promise<unknown>[] = []
  for (; !isOver(); count++) {
    acknowledged.push(client.publishAsync(`good/${qos}`, String(count), { qos }))
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  await Promise.all(acknowledged)
  await eventually(() => expect(seen.length).toBeGreaterThanOrEqual(count))
  expect(seen).toEqual(Array.from({ length: count }, (_, number) => number))
}

it.each(CELLS.map((cell, index) => [...cell, index + 1] as const))(
  'random packets pass nothing uncharged, and a client beside them loses nothing: %s, %j',
  async (exceeded, limiter, seed) => {
    const gate = new Gate().use(
      'f/#',
      limit({ name: 'f', rate: '300/s burst 50', per: 'client', exceeded }),
      limit({ name: 'all', rate: '2000/s', exceeded: 'drop' }),
    )
    const allowed: Record<string, number> = {}
    gate.on('decision', (decision, { topic, on }) => {
      if (on === 'publish' && decision.allowed) allowed[topic] = (allowed[topic] ?? 0) + 1
    })
    const test = await startBroker({ gate, limiter })
    let isOver = false
    try {
      const delivered: Record<string, number> = {}
      test.broker.on('publish', ({ topic }, client) => {
        if (client !== null) delivered[topic] = (delivered[topic] ?? 0) + 1
      })
      const received: Record<string, number> = {}
      const watcher = await test.connect({ clientId: 'watcher' })
      watcher.on('message', topic => {
        received[topic] = (received[topic] ?? 0) + 1
      })
      await watcher.subscribeAsync('f/#')
      const good = Promise.all(QOS.map(qos => behave(test, qos, () => isOver)))
      const clients = Array.from(
        { length: CLIENTS },
        (_, index) => new FuzzClient(test.port, 100 * seed + index),
      )
      collect()
      const beforeBytes = process.memoryUsage().heapUsed
      const share = PACKETS / CELLS.length / CLIENTS
      await Promise.all(
        clients.map(async client => {
          while (client.sent < share) await client.step()
        }),
      )
      for (const client of clients) client.end()
      isOver = true
      await good
      await eventually(() => expect(test.limits.stats()).toMatchObject({ connections: 4, held: 0 }), 60_000)
      await watcher.publishAsync('f/last', 'last', { qos: 1 })
      await eventually(() => expect(received['f/last']).toBe(1))

      for (const topic of ['f/zero', 'f/one', 'f/two', 'f/again', 'f/other']) {
        expect(delivered[topic] ?? 0).toBeLessThanOrEqual(allowed[topic] ?? 0)
        expect(received[topic] ?? 0).toBeLessThanOrEqual(allowed[topic] ?? 0)
      }
      // A policy that disconnects lets the will pass: once a connection.
      const connects = clients.reduce((sum, client) => sum + client.connects, 0)
      const wills = test.limits.stats().disconnected > 0 ? connects : (allowed['f/will'] ?? 0)
      expect(received['f/will'] ?? 0).toBeLessThanOrEqual(wills)
      expect(received['f/zero']).toBeGreaterThan(0)
      // Nothing of QoS 0 that was allowed is lost, except by clients that a policy disconnects.
      if (exceeded === 'drop' && limiter.disconnectAfter === undefined) {
        expect(received['f/zero']).toBe(allowed['f/zero'])
      }
      collect()
      expect(process.memoryUsage().heapUsed - beforeBytes).toBeLessThan(GROWTH_BYTES)
    } finally {
      isOver = true
      await test.close()
    }
  },
  600_000,
)
