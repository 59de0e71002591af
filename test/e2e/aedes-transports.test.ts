import { readFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls, createServer as createTls } from 'node:tls'
import type { Aedes } from 'aedes'
import mqtt from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { Folder } from '../src/cli/folder.ts'
import { random } from '../support/random.ts'
import { type Certificate, makeCertificate } from '../support/tls.ts'
import { until } from '../support/wait.ts'

const WAYS = ['TCP', 'TLS', 'WebSocket', 'WebSocket over TLS'] as const
type Way = (typeof WAYS)[number]

/** A server of a broker that speaks in one way, and how to connect to it. */
async function serve(
  way: Way,
  broker: Aedes,
  certificate: Certificate,
): Promise<{ server: Server; open(): Duplex }> {
  const handle = (stream: Duplex): void => void broker.handle(stream)
  const { certFile, keyFile, ca } = certificate
  const secrets = { cert: readFileSync(certFile), key: readFileSync(keyFile) }
  const server = {
    TCP: () => createServer(handle),
    TLS: () => createTls(secrets, handle),
    WebSocket: () => createHttp(),
    'WebSocket over TLS': () => createHttps(secrets),
  }[way]()
  if (way.startsWith('WebSocket')) {
    const sockets = new WebSocketServer({ server: server as ReturnType<typeof createHttp> })
    sockets.on('connection', (socket, request) => broker.handle(createWebSocketStream(socket), request))
  }
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const open = {
    TCP: () => connect(port, '127.0.0.1'),
    TLS: () => connectTls({ port, host: '127.0.0.1', ca }),
    WebSocket: () => createWebSocketStream(new WebSocket(`ws://127.0.0.1:${port}`, 'mqtt')),
    'WebSocket over TLS': () =>
      createWebSocketStream(new WebSocket(`wss://127.0.0.1:${port}`, 'mqtt', { ca })),
  }[way]
  return { server, open }
}

const COUNT = 12_000
const PASS = 300

/** What a flooder sends: most of it QoS 0 on one topic, at first with all sorts between; and how it is cut. */
function flood(seed: number): {
  readonly chunks: readonly Buffer[]
  readonly acks: number
  readonly pings: number
} {
  const chance = random(seed)
  const packets: Buffer[] = []
  let [acks, pings] = [0, 0]
  for (let n = 0; n < COUNT; n++) {
    // What is not of the flood has the rest of its chunk parsed: later there is only flood.
    const kind = n < COUNT / 4 ? chance.int(0, 99) : 99
    if (kind === 0) {
      packets.push(mqtt.generate({ cmd: 'pingreq' }))
      pings++
    }
    const qos = kind === 1 ? 1 : 0
    if (qos === 1) acks++
    const topic = kind === 2 ? 'free/x' : kind === 3 ? 't/other' : 't/flood'
    const payload = `${n} ${'x'.repeat(chance.int(0, 60))}`
    packets.push(
      mqtt.generate({ cmd: 'publish', topic, payload, qos, messageId: n + 1, retain: false, dup: false }),
    )
  }
  packets.push(
    mqtt.generate({
      cmd: 'publish',
      topic: 'free/end',
      payload: `${COUNT}`,
      qos: 1,
      messageId: 65_000,
      retain: false,
      dup: false,
    }),
  )
  const stream = Buffer.concat(packets)
  const chunks: Buffer[] = []
  for (let at = 0; at < stream.length; ) {
    const end = at + chance.int(1, chance.chance(0.5) ? 200 : 40_000)
    chunks.push(stream.subarray(at, end))
    at = end
  }
  return { chunks, acks: acks + 1, pings }
}

interface Seen {
  readonly decided: readonly string[]
  readonly delivered: readonly string[]
  /** Of QoS 0 on the topic of the flood, as they came. */
  readonly order: readonly number[]
  readonly dropped: number
  readonly acks: number
  readonly pings: number
  /** Publishes that came as far as the application's own hook. */
  readonly parsed: number
}

async function watch(
  way: Way,
  exceeded: 'drop' | 'throttle',
  certificate: Certificate,
  seed = 7,
): Promise<Seen> {
  const rate = exceeded === 'drop' ? `${PASS}/day` : '6000/s burst 100'
  const gate = new Gate().use('t/#', limit({ name: 't', rate, per: 'client', exceeded }))
  const decided: string[] = []
  gate.on('decision', ({ allowed, outcome }, { on, topic, size, qos }) => {
    if (on === 'publish') decided.push(`${topic} ${size} ${qos} ${allowed} ${outcome}`)
  })
  // Short pauses, and many of them.
  const limiter = { skimRefused: true, dropGateMs: 20, dropGateAfter: 200 }
  const running = await startBroker({ gate, limiter })
  let parsed = 0
  running.broker.authorizePublish = (_client, _packet, done) => {
    parsed++
    done(null)
  }
  const delivered: string[] = []
  const order: number[] = []
  running.broker.on('publish', ({ topic, payload, qos }, client) => {
    if (client === null) return
    const number = Number(payload.toString().split(' ')[0])
    delivered.push(`${topic} ${number}`)
    if (topic === 't/flood' && qos === 0) order.push(number)
  })
  const { server, open } = await serve(way, running.broker, certificate)
  const stream = open()
  try {
    const answers: Record<string, number> = {}
    const parser = mqtt.parser({ protocolVersion: 4 })
    parser.on('packet', ({ cmd }) => (answers[cmd] = (answers[cmd] ?? 0) + 1))
    stream.on('data', chunk => parser.parse(chunk))
    stream.on('error', () => {})
    stream.write(
      mqtt.generate({
        cmd: 'connect',
        clientId: 'c',
        clean: true,
        keepalive: 0,
        protocolId: 'MQTT',
        protocolVersion: 4,
      }),
    )
    await until(() => answers.connack === 1)
    const { chunks, acks, pings } = flood(seed)
    for (const chunk of chunks)
      if (!stream.write(chunk)) await new Promise(resolve => stream.once('drain', resolve))
    await until(() => answers.puback === acks && answers.pingresp === pings, {
      timeoutMs: 200_000,
      what: () =>
        `${way}: ${acks} acknowledgements and ${pings} answers; there are ${JSON.stringify(answers)}`,
    })
    const { dropped, held } = running.limits.stats()
    expect(held).toBe(0)
    // Between qualities of service aedes itself keeps no order.
    return { decided, delivered: delivered.toSorted(), order, dropped, acks, pings, parsed }
  } finally {
    stream.destroy()
    await running.close()
    await new Promise<void>(resolve => server.close(() => resolve()))
  }
}

describe('limits over TLS and WebSocket', () => {
  it('decide and deliver of a flood, skimmed and read with pauses, what they do over TCP', async () => {
    using folder = new Folder()
    const certificate = await makeCertificate(folder.path)
    const seen = await Promise.all(WAYS.map(way => watch(way, 'drop', certificate)))
    const { parsed: _, ...byTcp } = seen[0]!
    expect(byTcp.decided).toHaveLength(COUNT + 1)
    expect(byTcp.decided.filter(line => /^t.*true deliver$/.test(line))).toHaveLength(PASS)
    expect(byTcp.dropped + byTcp.delivered.length).toBe(COUNT + 1)
    for (const [index, { parsed, ...same }] of seen.entries()) {
      expect(same, WAYS[index]).toEqual(byTcp)
      // Most of them were refused before they were parsed.
      expect(parsed, WAYS[index]).toBeLessThan(COUNT / 2)
    }
  }, 240_000)

  it('throttle a flood in its order, and lose none of it', async () => {
    using folder = new Folder()
    const certificate = await makeCertificate(folder.path)
    for (const { delivered, order, acks, dropped } of await Promise.all(
      WAYS.map(way => watch(way, 'throttle', certificate)),
    )) {
      expect(dropped).toBe(0)
      expect(delivered).toHaveLength(COUNT + 1)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
      expect(acks).toBeGreaterThan(5)
    }
  }, 240_000)
})
