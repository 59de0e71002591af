import { connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import mqttPacket from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../src/index.ts'
import { type ServedGateway, serveGateway } from '../brokers/mqtt-gateway/harness.ts'
import { connectPacket } from '../brokers/mqtt-gateway/raw-peer.ts'
import { type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { until } from '../support/wait.ts'

const CONNECTS = 2_000
const IN_FLIGHT = 500
const ACCEPTED = 200

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

type Version = 4 | 5

const sockets = new Set<Socket>()

function closeAll(): void {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
}

/** Connects a client that stays. Resolves to the code of its CONNACK, or undefined if the connection is lost before. */
function connectOnce(port: number, version: Version, clientId: string): Promise<number | undefined> {
  return new Promise(resolve => {
    const parser = mqttPacket.parser({ protocolVersion: version })
    parser.on('packet', packet => {
      if (packet.cmd === 'connack') resolve(version === 5 ? packet.reasonCode : packet.returnCode)
    })
    const socket = connect({ port, host: '127.0.0.1' })
    sockets.add(socket)
    socket.write(
      mqttPacket.generate(connectPacket({ clientId, protocolVersion: version }), {
        protocolVersion: version,
      }),
    )
    socket.on('data', chunk => void parser.parse(chunk))
    socket.on('error', () => {})
    socket.on('close', () => resolve(undefined))
  })
}

/** Connects 2,000 clients as fast as they are answered. Returns the number of clients by the code of their answer. */
async function connectAll(
  port: number,
  version: Version,
  name = 'c',
): Promise<Readonly<Record<string, number>>> {
  const codes: Record<string, number> = {}
  let next = 0
  const connectNext = async (): Promise<void> => {
    while (next < CONNECTS) {
      const code = await connectOnce(port, version, `${name}${next++}`)
      codes[String(code)] = (codes[String(code)] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, connectNext))
  return codes
}

interface Scene extends AsyncDisposable {
  readonly broker: MosquittoServer
  readonly port: number
  readonly gateway: ServedGateway['gateway']
  /** Open connections to the broker. Those that have ended leave nothing behind. */
  readonly upstreams: ReadonlySet<Socket>
}

/** Starts a Mosquitto with further lines of its configuration, and a gateway in front of it. */
async function startScene(gate = new Gate(), config: readonly string[] = []): Promise<Scene> {
  const broker = await startMosquitto({ config })
  const upstreams = new Set<Socket>()
  const connectUpstream = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = connect({ port: broker.port, host: '127.0.0.1', noDelay: true })
      upstreams.add(socket)
      socket.once('close', () => upstreams.delete(socket))
      socket.once('connect', () => resolve(socket))
      socket.once('error', reject)
    })
  const { port, gateway, close } = await serveGateway(() => broker.port, {
    gate,
    gateway: { connectUpstream },
  })
  return {
    broker,
    port,
    gateway,
    upstreams,
    [Symbol.asyncDispose]: async () => {
      closeAll()
      await close()
      await broker.stop()
    },
  }
}

async function disconnectAll(scene: Scene): Promise<void> {
  closeAll()
  await until(() => scene.gateway.stats().connections === 0)
  expect(scene.upstreams.size).toBe(0)
  expect(scene.gateway.stats()).toMatchObject({ held: 0, heldBytes: 0, clientsUnread: 0, brokersUnread: 0 })
}

describe('2,000 clients that connect as fast as they can', () => {
  it('are all accepted, and leave no memory behind', async () => {
    await using scene = await startScene()
    const usedBytes: number[] = []
    for (const version of [5, 4, 5] as const) {
      expect(await connectAll(scene.port, version, `v${version}-`)).toEqual({ 0: CONNECTS })
      expect(scene.gateway.stats()).toMatchObject({ connections: CONNECTS, upstreamConnectsFailed: 0 })
      expect(scene.upstreams.size).toBe(CONNECTS)
      await disconnectAll(scene)
      collectGarbage()
      usedBytes.push(process.memoryUsage().heapUsed)
    }
    expect(scene.gateway.stats().upstreamConnects).toBe(3 * CONNECTS)
    expect((usedBytes[2]! - usedBytes[1]!) / CONNECTS, 'bytes a client').toBeLessThan(500)
  })

  it.each([
    [5, 0x9f],
    [4, 3],
  ] as const)('get the refusal of a limit above its rate: MQTT %d', async (version, refused) => {
    const gate = new Gate()
    gate.use(
      limit({
        name: 'connects',
        on: 'connect',
        rate: `1/day burst ${ACCEPTED}`,
        per: 'ip',
        exceeded: 'reject',
      }),
    )
    await using scene = await startScene(gate)
    expect(await connectAll(scene.port, version)).toEqual({ 0: ACCEPTED, [refused]: CONNECTS - ACCEPTED })
    await until(() => scene.gateway.stats().connections === ACCEPTED)
    expect(scene.upstreams.size).toBe(ACCEPTED)
    // Those asked about together with the last accepted ones are refused after the broker has accepted them.
    expect(scene.gateway.stats().upstreamConnects).toBeLessThan(ACCEPTED + IN_FLIGHT)
    expect(scene.gateway.stats()).toMatchObject({ connectsRefused: CONNECTS - ACCEPTED })
    await disconnectAll(scene)
  })

  it.each([
    [5, 0x88],
    [4, 3],
  ] as const)(
    'are told if the broker closes those above its own maximum: MQTT %d',
    async (version, refused) => {
      await using scene = await startScene(new Gate(), [`max_connections ${ACCEPTED}`])
      const { 0: accepted = 0, ...others } = await connectAll(scene.port, version)
      // Mosquitto accepts one more than its maximum.
      expect(accepted - ACCEPTED).toBeOneOf([0, 1])
      expect(others).toEqual({ [refused]: CONNECTS - accepted })
      await until(() => scene.gateway.stats().connections === accepted)
      expect(scene.upstreams.size).toBe(accepted)
      await disconnectAll(scene)
    },
  )

  it('are all accepted when a broker that stood still goes on', async () => {
    await using scene = await startScene()
    process.kill(scene.broker.pid, 'SIGSTOP')
    const connected = connectAll(scene.port, 5)
    try {
      await until(() => scene.upstreams.size === IN_FLIGHT)
    } finally {
      process.kill(scene.broker.pid, 'SIGCONT')
    }
    expect(await connected).toEqual({ 0: CONNECTS })
    expect(scene.upstreams.size).toBe(CONNECTS)
    await disconnectAll(scene)
  })
})
