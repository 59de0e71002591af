import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { IClientOptions } from 'mqtt'
import {
  type ClientPeer,
  type MqttGateway,
  type MqttGatewayOptions,
  mqttGateway,
} from '../../../brokers/mqtt-gateway/index.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { type MosquittoServer, startMosquitto } from '../../support/mosquitto.ts'
import { connectClient, type TestClient } from '../../support/mqtt-client.ts'
import { RawPeer } from './raw-peer.ts'

export interface ServedGateway extends AsyncDisposable {
  readonly gateway: MqttGateway
  readonly gate: Gate
  readonly port: number
  /** Returns the bytes that wait in the gateway for its clients. */
  clientBytes(): number
  /** Bytes that the gateway has sent to the broker, by connection. */
  readonly upstreams: readonly SentBytes[]
  /** Connects an MQTT.js client through the gateway. */
  connect(options?: IClientOptions): Promise<TestClient>
  /** Opens a socket to the gateway, without an MQTT client. */
  connectRaw(): Promise<RawPeer>
  close(): Promise<void>
}

export interface SentBytes {
  readonly socket: Socket
  readonly bytes: Buffer
}

export interface GatewayOptions {
  readonly gate?: Gate
  readonly gateway?: Partial<MqttGatewayOptions>
  /** Client side of all sockets, instead of their own address. */
  readonly peer?: ClientPeer
}

/** Starts a gateway in front of a port. */
export async function serveGateway(
  brokerPort: () => number,
  { gate = new Gate(), gateway: settings = {}, peer }: GatewayOptions = {},
): Promise<ServedGateway> {
  const sockets = new Set<Socket>()
  const upstreams: SentBytes[] = []
  const gateway = mqttGateway(gate, {
    connectUpstream: () =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: brokerPort(), host: '127.0.0.1', noDelay: true })
        upstreams.push(recordWrites(socket))
        socket.once('connect', () => resolve(socket))
        socket.once('error', reject)
      }),
    ...settings,
  })
  const server = createServer({ noDelay: true }, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    gateway.handle(socket, peer ?? { ip: socket.remoteAddress ?? '', port: socket.remotePort })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const clients: TestClient[] = []
  const peers: RawPeer[] = []
  const close = async (): Promise<void> => {
    await Promise.all(clients.map(client => client.close()))
    for (const peer of peers) peer.socket.destroy()
    await gateway.close({ graceMs: 1 })
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
    await gate.close()
  }
  return {
    gateway,
    gate,
    port,
    clientBytes: () =>
      Array.from(sockets, socket => socket.writableLength).reduce((sum, size) => sum + size, 0),
    upstreams,
    connect: async options => {
      const client = await connectClient({ port, ...options })
      clients.push(client)
      return client
    },
    connectRaw: async () => {
      const peer = await RawPeer.connect(port)
      peers.push(peer)
      return peer
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Records what is written to a socket. */
function recordWrites(socket: Socket): SentBytes {
  const chunks: Buffer[] = []
  const write = socket.write.bind(socket) as (chunk: Buffer) => boolean
  socket.write = (chunk: Buffer | string | Uint8Array) => {
    chunks.push(Buffer.from(chunk as Buffer))
    return write(chunk as Buffer)
  }
  return {
    socket,
    get bytes() {
      return Buffer.concat(chunks)
    },
  }
}

export interface TestGateway extends ServedGateway {
  readonly broker: MosquittoServer
  /** Connects an MQTT.js client to the broker. */
  connectDirectly(options?: IClientOptions): Promise<TestClient>
}

export interface TestGatewayOptions extends GatewayOptions {
  /** Additional lines of the configuration of Mosquitto. */
  readonly config?: readonly string[]
}

/** Starts a Mosquitto and a gateway in front of it. */
export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  let port = 0
  // Before Mosquitto, because it throws for a policy that it cannot enact.
  const served = await serveGateway(() => port, options)
  const broker = await startMosquitto({ config: options.config ?? [] })
  port = broker.port
  const clients: TestClient[] = []
  const close = async (): Promise<void> => {
    await Promise.all(clients.map(client => client.close()))
    await served.close()
    await broker.stop()
  }
  return {
    ...served,
    broker,
    connectDirectly: async clientOptions => {
      const client = await connectClient({ port: broker.port, ...clientOptions })
      clients.push(client)
      return client
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
