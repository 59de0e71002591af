import { once } from 'node:events'
import mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type RunningMqttServer, startMqttServer } from '../../../../src/cli/broker/mqtt-server.ts'
import { DEFAULT_MAX_PACKET_BYTES } from '../../../../src/cli/listeners/open-listeners.ts'
import { PacketSplitter } from '../../../../src/cli/listeners/web-socket-stream.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { Gate } from '../../../../src/gate/gate.ts'
import { random } from '../../../support/random.ts'

let server: RunningMqttServer | undefined
const warnings: string[] = []
afterEach(async () => {
  await server?.close(0)
  server = undefined
  warnings.length = 0
})

async function start(maxPacketBytes?: number): Promise<void> {
  const ignore = (): void => {}
  const warn = (_context: object, text?: string): void => void warnings.push(text ?? '')
  const logger = { debug: ignore, info: ignore, warn, error: ignore }
  server = await startMqttServer({
    gate: new Gate(),
    host: '127.0.0.1',
    port: 0,
    wsPort: 0,
    logger,
    maxPacketBytes,
  })
}

function generate(packet: Partial<mqttPacket.Packet>): Buffer {
  return mqttPacket.generate(packet as mqttPacket.Packet)
}
function connectOf(clientId: string): Buffer {
  return generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId,
    keepalive: 0,
  })
}

class Client {
  readonly socket = new WebSocket(`ws://127.0.0.1:${server!.wsPort}`, 'mqtt')
  readonly frames: Buffer[] = []
  readonly closed: Promise<number>

  constructor() {
    this.socket.on('message', data => this.frames.push(data as Buffer))
    this.socket.on('error', () => {})
    this.closed = new Promise(resolve => this.socket.once('close', code => resolve(code)))
  }

  async open(): Promise<this> {
    await once(this.socket, 'open')
    return this
  }

  async frame(count: number): Promise<Buffer> {
    while (this.frames.length < count) await once(this.socket, 'message')
    return this.frames[count - 1]!
  }

  async connect(clientId: string): Promise<this> {
    await this.open()
    this.socket.send(connectOf(clientId))
    await this.frame(1)
    return this
  }
}

describe('MQTT over WebSocket', () => {
  it('puts each packet in one frame', async () => {
    await start()
    const client = await new Client().connect('one')
    client.socket.send(generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 0 }] }))
    await client.frame(2)
    const payloads = ['', 'x', 'y'.repeat(300), 'z'.repeat(200_000)]
    // All in one frame of the client's: aedes then writes several packets in a row.
    client.socket.send(
      Buffer.concat(
        payloads.map(payload =>
          generate({ cmd: 'publish', topic: 't', payload, qos: 0, dup: false, retain: false }),
        ),
      ),
    )
    await client.frame(2 + payloads.length)
    const parser = mqttPacket.parser()
    const seen: mqttPacket.Packet[] = []
    parser.on('packet', packet => seen.push(packet))
    client.frames.forEach((frame, index) => {
      expect(parser.parse(frame)).toBe(0)
      expect(seen).toHaveLength(index + 1)
    })
    expect(seen.slice(2).map(packet => String((packet as mqttPacket.IPublishPacket).payload))).toEqual(
      payloads,
    )
    client.socket.terminate()
  })
  it('closes the connection at a text frame', async () => {
    await start()
    const client = await new Client().connect('text')
    client.socket.send(generate({ cmd: 'pingreq' }).toString('latin1'))
    expect(await client.closed).not.toBe(1000)
    const early = await new Client().open()
    early.socket.send('hello')
    await early.closed
    expect(early.frames).toEqual([])
  })
  it('closes the connection at a frame larger than the largest packet', async () => {
    await start(300_000)
    const client = await new Client().connect('large')
    client.socket.send(Buffer.alloc(300_001))
    await client.closed
    expect(warnings).toEqual([expect.stringContaining('--max-packet-bytes is 300000')])
  })
  it('keeps no more than a CONNECT may have before there was one', async () => {
    await start()
    const early = await new Client().open()
    early.socket.send(Buffer.alloc(MAX_SIZES.connectBytes + 1))
    await early.closed
    const client = await new Client().connect('c')
    const payload = Buffer.alloc(DEFAULT_MAX_PACKET_BYTES / 2)
    client.socket.send(
      generate({ cmd: 'publish', topic: 't', payload, qos: 1, messageId: 1, dup: false, retain: false }),
    )
    expect((await client.frame(2))[0]).toBe(0x40)
    client.socket.terminate()
  })
})

describe('a splitter of packets', () => {
  it('gives whole packets, however the bytes come', () => {
    const chance = random(7)
    const packets = Array.from({ length: 200 }, (_, index) =>
      generate({
        ...{ cmd: 'publish', topic: 't', qos: 0, dup: false, retain: false },
        payload: Buffer.alloc(Math.floor(chance.next() * (index % 10 === 0 ? 20_000 : 200))),
      }),
    )
    const bytes = Buffer.concat(packets)
    const splitter = new PacketSplitter()
    const found: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      const next = at + 1 + Math.floor(chance.next() * 1_000)
      found.push(...splitter.split(bytes.subarray(at, next)).map(packet => Buffer.from(packet)))
      at = next
    }
    expect(found).toEqual(packets)
  })
})
