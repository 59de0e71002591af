import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { IClientOptions } from 'mqtt'
import {
  type MqttGateway,
  type MqttGatewayOptions,
  mqttGateway,
} from '../../../brokers/mqtt-gateway/index.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { type MosquittoServer, startMosquitto } from '../../support/mosquitto.ts'
import { connectClient, type TestClient } from '../../support/mqtt-client.ts'

export interface TestGateway extends AsyncDisposable {
  readonly gateway: MqttGateway
  readonly gate: Gate
  readonly broker: MosquittoServer
  readonly port: number
  /** Connects an MQTT.js client through the gateway. */
  connect(options?: IClientOptions): Promise<TestClient>
  /** Connects an MQTT.js client to the broker. */
  connectDirectly(options?: IClientOptions): Promise<TestClient>
  close(): Promise<void>
}

export interface TestGatewayOptions {
  readonly gate?: Gate
  readonly gateway?: Partial<MqttGatewayOptions>
  /** Further lines of Mosquitto's configuration. */
  readonly config?: readonly string[]
}

/** Starts a Mosquitto, and a gateway in front of it. */
export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gate = options.gate ?? new Gate()
  const sockets = new Set<Socket>()
  let brokerPort = 0
  // Before Mosquitto, because it throws for a policy that it cannot enact.
  const gateway = mqttGateway(gate, {
    connectUpstream: () =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: brokerPort, host: '127.0.0.1', noDelay: true })
        socket.once('connect', () => resolve(socket))
        socket.once('error', reject)
      }),
    ...options.gateway,
  })
  const broker = await startMosquitto(options.config === undefined ? {} : { config: options.config })
  brokerPort = broker.port
  const server = createServer({ noDelay: true }, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    gateway.handle(socket, { ip: socket.remoteAddress ?? '', port: socket.remotePort })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const clients: TestClient[] = []
  const track = async (client: Promise<TestClient>): Promise<TestClient> => {
    clients.push(await client)
    return client
  }
  const close = async (): Promise<void> => {
    await Promise.all(clients.map(client => client.close()))
    await gateway.close({ graceMs: 1 })
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
    await broker.stop()
    await gate.close()
  }
  return {
    gateway,
    gate,
    broker,
    port,
    connect: clientOptions => track(connectClient({ port, ...clientOptions })),
    connectDirectly: clientOptions => track(connectClient({ port: broker.port, ...clientOptions })),
    close,
    [Symbol.asyncDispose]: close,
  }
}
