import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { until } from '../../support/wait.ts'

type Packet = mqttPacket.Packet
type Version = 3 | 4 | 5

/** One end of a connection. Sends the given packets and records received ones. */
export class RawPeer {
  readonly socket: Socket
  readonly packets: Packet[] = []
  isClosed = false
  readonly #chunks: Buffer[] = []
  #version: Version = 4
  #parser = mqttPacket.parser({ protocolVersion: 4 })

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.#chunks.push(chunk)
      this.#parser.parse(chunk)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
    })
    this.setVersion(4)
  }

  static async connect(port: number): Promise<RawPeer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new RawPeer(socket)
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  setVersion(version: Version): void {
    this.#version = version
    this.#parser = mqttPacket.parser({ protocolVersion: version })
    this.#parser.on('packet', packet => this.packets.push(packet))
    this.#parser.on('error', () => {})
  }

  send(...packets: readonly (Packet | Buffer)[]): void {
    this.socket.write(Buffer.concat(packets.map(packet => this.encode(packet))))
  }

  encode(packet: Packet | Buffer): Buffer {
    if (Buffer.isBuffer(packet)) return packet
    return mqttPacket.generate(packet, { protocolVersion: this.#version })
  }

  /** Sends a CONNECT and waits for the CONNACK. */
  async open(
    options: Partial<mqttPacket.IConnectPacket> & { readonly clientId: string },
  ): Promise<mqttPacket.IConnackPacket> {
    this.sendConnect(options)
    return (await this.received('connack')) as mqttPacket.IConnackPacket
  }

  sendConnect(options: Partial<mqttPacket.IConnectPacket> & { readonly clientId: string }): void {
    const version = (options.protocolVersion ?? 4) as Version
    this.setVersion(version)
    this.send(connectPacket(options))
  }

  count(cmd: string): number {
    return this.packets.filter(packet => packet.cmd === cmd).length
  }

  /** Waits for a packet of a kind, the first or the `count`th one. */
  async received(cmd: string, count = 1): Promise<Packet> {
    await until(() => this.count(cmd) >= count, {
      what: () => `${count} ${cmd}; there are ${this.packets.map(packet => packet.cmd).join(', ')}`,
    })
    return this.packets.filter(packet => packet.cmd === cmd)[count - 1]!
  }

  /** Waits for the answer to a PINGREQ. It follows all earlier packets. */
  async roundTrip(): Promise<void> {
    const before = this.count('pingresp')
    this.send({ cmd: 'pingreq' })
    await this.received('pingresp', before + 1)
  }

  async closed(): Promise<void> {
    await until(() => this.isClosed, { what: 'the connection to be closed' })
  }
}

export function connectPacket(
  options: Partial<mqttPacket.IConnectPacket> & { readonly clientId: string },
): mqttPacket.IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: options.protocolVersion === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 0,
    ...options,
  }
}

export function publishPacket(
  topic: string,
  options: Partial<mqttPacket.IPublishPacket> = {},
): mqttPacket.IPublishPacket {
  return { cmd: 'publish', topic, payload: 'x', qos: 0, retain: false, dup: false, ...options }
}

/** A broker whose packets a test writes itself. */
export interface ScriptedBroker extends AsyncDisposable {
  readonly port: number
  readonly peers: readonly RawPeer[]
  /** Waits for the connection with this index. */
  accepted(index?: number): Promise<RawPeer>
}

export async function startScriptedBroker(): Promise<ScriptedBroker> {
  const peers: RawPeer[] = []
  const server = createServer({ noDelay: true }, socket => void peers.push(new RawPeer(socket)))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    peers,
    accepted: async (index = 0) => {
      await until(() => peers.length > index, { what: `connection ${index}` })
      return peers[index]!
    },
    [Symbol.asyncDispose]: async () => {
      for (const { socket } of peers) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
