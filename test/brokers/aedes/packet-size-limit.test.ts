import { type AddressInfo, connect, createServer } from 'node:net'
import { Aedes } from 'aedes'
import mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { limitBroker } from '../../../brokers/aedes/index.ts'
import { packetSizeBytes } from '../../../brokers/aedes/packet-size-limit.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, RawClient, startBroker, type TestBroker } from './harness.ts'

let test: TestBroker | undefined
afterEach(async () => {
  await test?.close()
  test = undefined
})

interface Line {
  readonly context: Record<string, unknown>
  readonly text: string | undefined
}

function setUp(maxPacketBytes?: number) {
  const lines: Line[] = []
  const ignore = (): void => {}
  const warn = (context: object, text?: string): void =>
    void lines.push({ context: context as Record<string, unknown>, text })
  const logger = { debug: ignore, info: ignore, warn, error: ignore }
  return { lines, limiter: { logger, ...(maxPacketBytes === undefined ? {} : { maxPacketBytes }) } }
}

/** The first bytes of a packet: what it is and how long it says it is, and nothing of the rest. */
function head(first: number, remainingLength: number): Buffer {
  const bytes = [first]
  for (let left = remainingLength; ; ) {
    const byte = left & 127
    left >>>= 7
    bytes.push(left > 0 ? byte | 128 : byte)
    if (left === 0) return Buffer.from(bytes)
  }
}
const PUBLISH = 0x30
const CONNECT = 0x10

describe('the maximum packet size', () => {
  it('includes the first byte and the length', () => {
    for (const length of [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455]) {
      expect(packetSizeBytes(length)).toBe(length + head(PUBLISH, length).length)
    }
  })
  it('is allowed, and one byte more closes the connection as soon as the length is read', async () => {
    const { lines, limiter } = setUp(1_000)
    test = await startBroker({ limiter })
    const client = await test.connectRaw({ clientId: 'large' })
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 0 }] })
    await client.until('suback')
    client.send(client.publish('t', { payload: Buffer.alloc(1_000 - 3 - 3) }))
    await client.until('publish')
    client.socket.write(head(PUBLISH, 1_000 - 3 + 1))
    await eventually(() => expect(client.closed).toBe(true))
    expect(test.limits.stats().oversized).toBe(1)
    expect(lines).toEqual([
      {
        context: {
          client: 'large',
          ip: '127.0.0.1',
          packet: 'publish',
          bytes: 1_001,
          limitBytes: 1_000,
          suppressed: 0,
        },
        text: expect.stringContaining('maxPacketBytes is 1000'),
      },
    ])
  })
  it('is 16 MiB by default, and unlimited with 0', async () => {
    test = await startBroker()
    const over = await test.connectRaw({ clientId: 'over' })
    over.socket.write(head(PUBLISH, MAX_SIZES.packetBytes - 5 + 1))
    await eventually(() => expect(over.closed).toBe(true))
    const within = await test.connectRaw({ clientId: 'within' })
    within.socket.write(head(PUBLISH, MAX_SIZES.packetBytes - 5))
    await within.socket.write(Buffer.alloc(100))
    await test.close()
    test = await startBroker({ limiter: { maxPacketBytes: 0 } })
    const free = await test.connectRaw({ clientId: 'free' })
    free.socket.write(head(PUBLISH, 268_435_455))
    await new Promise(resolve => setImmediate(resolve))
    expect(test.limits.stats().oversized).toBe(0)
    expect([within.closed, free.closed]).toEqual([true, false])
  })
  it('is 128 KiB for a CONNECT and before it, regardless of the option', async () => {
    const { lines, limiter } = setUp()
    test = await startBroker({ limiter })
    for (const first of [CONNECT, PUBLISH]) {
      const client = await test.connectRaw()
      client.socket.write(head(first, MAX_SIZES.connectBytes - 4 + 1))
      await eventually(() => expect(client.closed).toBe(true))
    }
    expect(lines[0]?.text).toContain('maxPacketBytes')
    expect(test.limits.stats().oversized).toBe(2)
    const will = { topic: 'gone', payload: Buffer.alloc(65_000), qos: 0 as const, retain: false }
    const fits = await test.connectRaw({ clientId: 'fits', username: 'u'.repeat(60_000), will })
    expect(fits.closed).toBe(false)
  })
  it('applies to packets in the same chunk as the CONNECT', async () => {
    test = await startBroker({ limiter: { maxPacketBytes: 300_000 } })
    const client = await test.connectRaw()
    const connecting = mqttPacket.generate({
      ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'c', keepalive: 0 },
    })
    client.socket.write(Buffer.concat([connecting, head(PUBLISH, 200_000)]))
    await client.until('connack')
    expect(client.closed).toBe(false)
    const other = await test.connectRaw()
    other.socket.write(Buffer.concat([connecting, head(PUBLISH, 400_000)]))
    await eventually(() => expect(other.closed).toBe(true))
  })
  it('applies from the CONNECT on if the application took broker.handle before', async () => {
    const broker = await Aedes.createBroker()
    const { handle } = broker
    const server = createServer(socket => void handle(socket))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const limits = limitBroker(broker, new Gate(), { maxPacketBytes: 1_000 })
    const client = new RawClient(connect(port, '127.0.0.1'))
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'c',
      keepalive: 0,
    })
    await client.until('connack')
    client.socket.write(head(PUBLISH, 1_000))
    await eventually(() => expect(client.closed).toBe(true))
    expect(limits.stats().oversized).toBe(1)
    limits.detach()
    expect(broker.handle).toBe(handle)
    await new Promise<void>(resolve => broker.close(() => resolve()))
    await new Promise<void>(resolve => server.close(() => resolve()))
  })
})
