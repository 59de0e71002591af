import { connect, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { expect, it } from 'vitest'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import type { ExceededWord } from '../../src/outcomes/exceeded.ts'
import { startGateway, type TestGateway } from '../brokers/mqtt-gateway/harness.ts'
import { connectPacket, publishPacket } from '../brokers/mqtt-gateway/raw-peer.ts'
import { type Random, random } from '../support/random.ts'
import { until } from '../support/wait.ts'

const PACKETS = Number(process.env.TOPICGATE_FUZZ_PACKETS ?? 12_000)
const CLIENTS = 4
const MESSAGE_IDS = 12
const MOST_UNSENT_BYTES = 262_144
const QOS = [0, 1, 2] as const
const TOPICS = ['f/zero', 'f/one', 'f/two', 'f/other'] as const

/** Sends packets of chance, cut and joined anyhow, over one connection after another. */
class FuzzClient {
  sent = 0
  readonly #port: number
  readonly #random: Random
  readonly #version: 4 | 5
  readonly #id: string
  #socket: Socket | undefined

  constructor(port: number, seed: number) {
    this.#port = port
    this.#random = random(seed)
    this.#version = seed % 2 === 0 ? 4 : 5
    this.#id = `fuzz-${seed}`
  }

  async step(): Promise<void> {
    const { chance, int } = this.#random
    const socket = this.#socket
    const isOver = socket === undefined || socket.destroyed || !socket.writable
    if (isOver || socket.writableLength > MOST_UNSENT_BYTES || chance(0.02)) {
      await this.#connect()
      return
    }
    const count = chance(0.1) ? int(50, 400) : int(1, 20)
    const bytes = Buffer.concat(Array.from({ length: count }, () => this.#makePacket()))
    this.sent += count
    for (let at = 0; at < bytes.length; ) {
      const end = at + (chance(0.6) ? bytes.length : int(1, chance(0.5) ? 7 : 900))
      socket.write(bytes.subarray(at, end))
      at = end
      if (chance(0.3)) await new Promise(resolve => setImmediate(resolve))
    }
    if (chance(0.02)) socket.end()
    if (chance(0.2)) await new Promise(resolve => setTimeout(resolve, 1))
  }

  /** Leaves the earlier connection open at times: the broker then closes it. */
  async #connect(): Promise<void> {
    const { chance, int, pick } = this.#random
    if (chance(0.7)) this.#socket?.destroy()
    const socket = connect(this.#port, '127.0.0.1')
    this.#socket = socket
    socket.on('error', () => {})
    if (chance(0.9)) socket.resume()
    const will = { topic: 'f/will', payload: Buffer.from('will'), qos: pick(QOS), retain: false }
    const packet = connectPacket({
      protocolVersion: this.#version,
      clientId: this.#id,
      keepalive: int(0, 1) * 60,
      ...(chance(0.5) && { will }),
    })
    socket.write(this.#encode(packet))
    await new Promise(resolve => socket.once('connect', resolve).once('close', resolve))
  }

  #encode(packet: mqttPacket.Packet): Buffer {
    return mqttPacket.generate(packet, { protocolVersion: this.#version })
  }

  #makePacket(): Buffer {
    const { chance, int, pick } = this.#random
    const messageId = int(1, MESSAGE_IDS)
    const payload = 'p'.repeat(chance(0.02) ? int(1_000, 20_000) : int(0, 40))
    const kind = int(0, 999)
    if (kind < 2) return Buffer.from(Array.from({ length: int(1, 12) }, () => int(0, 255)))
    const properties = { properties: { topicAlias: int(1, 10) } }
    if (kind < 500) return this.#encode(publishPacket('f/zero', { payload, ...(chance(0.3) && properties) }))
    if (kind < 600)
      return this.#encode(
        publishPacket('f/other', { qos: pick(QOS), payload, messageId, retain: chance(0.2) }),
      )
    if (kind < 680)
      return this.#encode(publishPacket('f/one', { qos: 1, payload, messageId, dup: chance(0.4) }))
    if (kind < 780)
      return this.#encode(publishPacket('f/two', { qos: 2, payload, messageId, dup: chance(0.2) }))
    if (kind < 930) return this.#encode({ cmd: 'pubrel', messageId })
    if (kind < 950) return this.#encode({ cmd: pick(['puback', 'pubrec', 'pubcomp']), messageId })
    const topic = `s/${int(0, 9)}`
    if (kind < 970) return this.#encode({ cmd: 'subscribe', messageId, subscriptions: [{ topic, qos: 1 }] })
    if (kind < 980) return this.#encode({ cmd: 'unsubscribe', messageId, unsubscriptions: [topic] })
    return this.#encode(kind === 999 ? { cmd: 'disconnect' } : { cmd: 'pingreq' })
  }

  end(): void {
    this.#socket?.destroy()
  }
}

/** Publishes numbers to itself as long as the fuzzing goes on; all have to come back, once and in order. */
async function behave(scene: TestGateway, qos: 0 | 1 | 2, isOver: () => boolean): Promise<void> {
  const client = await scene.connect({ clientId: `good-${qos}`, protocolVersion: qos === 1 ? 5 : 4 })
  await client.subscribe(`good/${qos}`, 2)
  const acknowledged: Promise<void>[] = []
  for (; !isOver(); ) {
    acknowledged.push(client.publish(`good/${qos}`, String(acknowledged.length), { qos }))
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  await Promise.all(acknowledged)
  await client.received(acknowledged.length)
  expect(client.messages.map(({ text }) => Number(text))).toEqual(acknowledged.map((_, index) => index))
}

it.each([
  ['drop', 1],
  ['reject', 2],
  ['throttle', 3],
  ['queue', 4],
  ['latest', 5],
  ['disconnect', 6],
] as readonly [ExceededWord, number][])(
  'packets of chance pass nothing uncharged through the gateway, and a client beside them loses nothing: %s',
  async (exceeded, seed) => {
    const gate = new Gate().use(
      'f/#',
      limit({ name: 'f', rate: '300/s burst 50', per: 'client', exceeded }),
      limit({ name: 'all', rate: '2000/s', exceeded: 'drop' }),
    )
    const allowed = new Map<string, number>()
    gate.on('decision', (decision, { topic, on, will }) => {
      if (on === 'publish' && decision.allowed && will !== true)
        allowed.set(topic, (allowed.get(topic) ?? 0) + 1)
    })
    let isOver = false
    await using scene = await startGateway({ gate, gateway: { maxHeldPerSender: 64 } })
    try {
      const received = new Map<string, number>()
      const watcher = await scene.connectDirectly()
      watcher.client.on('message', topic => received.set(topic, (received.get(topic) ?? 0) + 1))
      await watcher.subscribe('f/#', 0)
      const good = Promise.all(QOS.map(qos => behave(scene, qos, () => isOver)))
      const clients = Array.from(
        { length: CLIENTS },
        (_, index) => new FuzzClient(scene.port, 100 * seed + index),
      )
      await Promise.all(
        clients.map(async client => {
          while (client.sent < PACKETS / 6 / CLIENTS) await client.step()
        }),
      )
      for (const client of clients) client.end()
      isOver = true
      await good
      await until(() => scene.gateway.stats().connections === QOS.length, {
        what: () => JSON.stringify(scene.gateway.stats()),
      })
      expect(scene.gateway.stats()).toMatchObject({ held: 0, heldBytes: 0 })
      await watcher.publish('f/last', 'last', { qos: 1 })
      await until(() => received.get('f/last') === 1)
      for (const topic of TOPICS)
        expect(received.get(topic) ?? 0, topic).toBeLessThanOrEqual(allowed.get(topic) ?? 0)
      expect(received.get('f/zero')).toBeGreaterThan(0)
    } finally {
      isOver = true
    }
  },
  600_000,
)
