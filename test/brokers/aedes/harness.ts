import { EventEmitter } from 'node:events'
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { type BrokerLimiter, type LimitBrokerOptions, limitBroker } from '../../../brokers/aedes/index.ts'
import { Gate } from '../../../src/gate/gate.ts'

type AedesOptions = ConstructorParameters<typeof Aedes>[0]

/** An aedes broker on a free port, limited by a gate. `close` also closes its clients. */
export class TestBroker {
  readonly broker: Aedes
  readonly gate: Gate
  readonly limits: BrokerLimiter
  readonly port: number
  readonly #clients: MqttClient[] = []
  readonly #sockets: Socket[] = []
  readonly #closeServer: () => Promise<void>

  constructor(
    broker: Aedes,
    gate: Gate,
    limits: BrokerLimiter,
    port: number,
    closeServer: () => Promise<void>,
  ) {
    this.broker = broker
    this.gate = gate
    this.limits = limits
    this.port = port
    this.#closeServer = closeServer
  }

  /** Connects an MQTT.js client. */
  async connect(options: IClientOptions = {}): Promise<MqttClient> {
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.port}`, {
      reconnectPeriod: 0,
      protocolVersion: 4,
      connectTimeout: 10_000,
      ...options,
    })
    this.#clients.push(client)
    client.on('error', () => {})
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve())
      client.once('error', reject)
      client.once('close', () => reject(new Error('closed before CONNACK')))
    })
    return client
  }

  /** Opens a socket that sends the given packets and records received ones. */
  async connectRaw(connect?: Partial<mqttPacket.IConnectPacket>): Promise<RawClient> {
    const socket = connectSocket(this.port, '127.0.0.1')
    this.#sockets.push(socket)
    const raw = new RawClient(socket)
    await new Promise<void>(resolve => socket.once('connect', () => resolve()))
    if (connect !== undefined) {
      raw.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId: 'raw',
        keepalive: 0,
        ...connect,
      })
      await raw.until('connack')
    }
    return raw
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.end(true)
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>(resolve => this.broker.close(() => resolve()))
    await this.#closeServer()
    await this.gate.close()
  }
}

export class RawClient extends EventEmitter {
  readonly socket: Socket
  readonly packets: mqttPacket.Packet[] = []
  closed = false

  constructor(socket: Socket) {
    super()
    this.socket = socket
    const parser = mqttPacket.parser({ protocolVersion: 4 })
    parser.on('packet', packet => {
      this.packets.push(packet)
      this.emit('packet', packet)
    })
    socket.on('data', chunk => parser.parse(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      this.emit('closed')
    })
  }

  send(...packets: mqttPacket.Packet[]): void {
    this.socket.write(Buffer.concat(packets.map(packet => mqttPacket.generate(packet))))
  }

  publish(topic: string, options: Partial<mqttPacket.IPublishPacket> = {}): mqttPacket.IPublishPacket {
    return { cmd: 'publish', topic, payload: 'x', qos: 0, retain: false, dup: false, ...options }
  }

  /** Resolves when everything that the broker has written to this client has arrived. */
  async roundTrip(): Promise<void> {
    const answered = this.packets.filter(({ cmd }) => cmd === 'pingresp').length
    this.send({ cmd: 'pingreq' })
    await this.until('pingresp', answered + 1)
  }

  async until(cmd: string, count = 1): Promise<mqttPacket.Packet> {
    await eventually(() => {
      const seen = this.packets.filter(packet => packet.cmd === cmd).length
      if (seen < count) throw new Error(`${seen} of ${count} ${cmd}`)
    })
    return this.packets.filter(packet => packet.cmd === cmd)[count - 1]!
  }
}

export interface Setup {
  readonly gate?: Gate
  readonly limiter?: LimitBrokerOptions
  readonly aedes?: AedesOptions
  /** Returns the connection listener. Default: that of the broker. */
  readonly listener?: (broker: Aedes) => (socket: Socket) => void
}

export async function startBroker(setup: Setup = {}): Promise<TestBroker> {
  const gate = setup.gate ?? new Gate()
  const broker = await Aedes.createBroker(setup.aedes)
  const limits = limitBroker(broker, gate, setup.limiter)
  const listener = setup.listener?.(broker) ?? (socket => void broker.handle(socket))
  const server = createServer({ noDelay: true }, listener)
  const port = await new Promise<number>(resolve => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
  const closeServer = (): Promise<void> => new Promise(resolve => server.close(() => resolve()))
  return new TestBroker(broker, gate, limits, port, closeServer)
}

/** Waits until `claim` no longer throws. Throws its last error after `withinMs`. */
export async function eventually(claim: () => void, withinMs = 50_000): Promise<void> {
  const endMs = performance.now() + withinMs
  for (;;) {
    try {
      claim()
      return
    } catch (error) {
      if (performance.now() > endMs) throw error
    }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

export async function subscribeAll(client: MqttClient, filter: string | string[], qos: 0 | 1 | 2 = 0) {
  const seen: { topic: string; text: string; retain: boolean }[] = []
  client.on('message', (topic, payload, packet) =>
    seen.push({ topic, text: payload.toString(), retain: packet.retain }),
  )
  await client.subscribeAsync(filter, { qos })
  return seen
}
