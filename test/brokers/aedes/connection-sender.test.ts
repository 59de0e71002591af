import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { behindProxy, limitBroker, type TrustProxy, trustProxies } from '../../../brokers/aedes/index.ts'
import type { Sender } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, type TestBroker } from './harness.ts'
import { proxyV2 } from './proxy-header-bytes.ts'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** A gate that keeps who sent what. */
function witness(): { gate: Gate; senders: Map<string, Sender> } {
  const senders = new Map<string, Sender>()
  const gate = new Gate().use((message, next) => {
    senders.set(`${message.on} ${message.topic}`, message.sender)
    return next()
  })
  return { gate, senders }
}

async function startTcp(gate: Gate, trust?: TrustProxy): Promise<TestBroker> {
  const test = await startBroker({
    gate,
    ...(trust === undefined
      ? {}
      : { listener: broker => behindProxy(broker, { trust, headerTimeoutMs: 300 }) }),
  })
  cleanUps.push(() => test.close())
  return test
}

describe('the sender of a connection', () => {
  it('has client id, username and address, and is one object for all messages', async () => {
    const { gate, senders } = witness()
    const test = await startTcp(gate)
    const client = await test.connect({ clientId: 'c1', username: 'u1', password: 'secret' })
    await client.subscribeAsync('a/#')
    await client.publishAsync('a/b', 'm', { qos: 1 })
    const sender = senders.get('publish a/b')
    expect(sender).toMatchObject({ client: 'c1', user: 'u1', ip: '127.0.0.1' })
    expect(senders.get('subscribe a/#')).toBe(sender)
    expect(senders.get('connect connect')).toBe(sender)
  })
  it('gets fields of the application once, and remains usable if that throws', async () => {
    const { gate, senders } = witness()
    let asked = 0
    const test = await startBroker({
      gate,
      limiter: {
        identify: client => {
          asked++
          if (client.id === 'bad') throw new Error('no such device')
          return { roles: ['admin'], tier: 'pro', device: `d-${client.id}` }
        },
      },
    })
    cleanUps.push(() => test.close())
    const good = await test.connect({ clientId: 'good' })
    for (let i = 0; i < 3; i++) await good.publishAsync('g', 'm', { qos: 1 })
    const bad = await test.connect({ clientId: 'bad' })
    await bad.publishAsync('b', 'm', { qos: 1 })
    expect(senders.get('publish g')).toMatchObject({
      client: 'good',
      roles: ['admin'],
      tier: 'pro',
      device: 'd-good',
    })
    expect(senders.get('publish b')).toMatchObject({ client: 'bad', ip: '127.0.0.1', roles: undefined })
    expect(asked).toBe(2)
  })
  it('of a connection older than the limiter has client id and address', async () => {
    const broker = await Aedes.createBroker()
    const server = (await import('node:net')).createServer(socket => void broker.handle(socket))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, {
      clientId: 'early',
    })
    const { gate, senders } = witness()
    limitBroker(broker, gate)
    await client.publishAsync('t', 'm', { qos: 1 })
    expect(senders.get('publish t')).toMatchObject({ client: 'early', user: undefined, ip: '127.0.0.1' })
    client.end(true)
    await new Promise<void>(resolve => broker.close(resolve))
    await new Promise<void>(resolve => server.close(() => resolve()))
  })
})

describe('over WebSocket', () => {
  async function connectThrough(
    headers: Record<string, string>,
    trust?: TrustProxy,
  ): Promise<Sender | undefined> {
    const { gate, senders } = witness()
    const broker = await Aedes.createBroker()
    limitBroker(broker, gate, trust === undefined ? {} : { trust })
    const http = createServer()
    const ws = new WebSocketServer({ server: http })
    ws.on('connection', (socket, request) => void broker.handle(createWebSocketStream(socket), request))
    await new Promise<void>(resolve => http.listen(0, '127.0.0.1', resolve))
    const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`
    const client = await mqtt.connectAsync(url, { clientId: 'w', wsOptions: { headers }, reconnectPeriod: 0 })
    cleanUps.push(async () => {
      client.end(true)
      await new Promise<void>(resolve => broker.close(resolve))
      ws.close()
      http.closeAllConnections()
      await new Promise<void>(resolve => http.close(() => resolve()))
    })
    await client.publishAsync('t', 'm', { qos: 1 })
    return senders.get('publish t')
  }

  it('the address is that of the socket, and X-Forwarded-For of an untrusted peer is ignored', async () => {
    const sender = await connectThrough({ 'X-Forwarded-For': '203.0.113.9' })
    expect(sender).toMatchObject({ client: 'w', ip: '127.0.0.1' })
  })
  it('X-Forwarded-For of a trusted proxy is used', async () => {
    const trust = trustProxies(['127.0.0.1'])
    const sender = await connectThrough({ 'X-Forwarded-For': '6.6.6.6, 203.0.113.9' }, trust)
    expect(sender?.ip).toBe('203.0.113.9')
  })
})

describe('behind a proxy that sends PROXY headers', () => {
  const trust = trustProxies(['127.0.0.1'])
  const connect = mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: 'p',
    keepalive: 0,
  })
  const v4 = Buffer.from([203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0x07, 0x5b])

  it.each([
    ['version 1', Buffer.from('PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883\r\n')],
    ['version 2', proxyV2(1, 0x11, v4)],
    ['version 2 with extensions', proxyV2(1, 0x11, v4, Buffer.from([4, 0, 1, 9]))],
  ])('of %s the address is the one it names, in one piece or byte by byte', async (_, header) => {
    const { gate, senders } = witness()
    const test = await startTcp(gate, trust)
    for (const whole of [true, false]) {
      senders.clear()
      const raw = await test.connectRaw()
      raw.socket.setNoDelay(true)
      const bytes = Buffer.concat([header, connect])
      if (whole) raw.socket.write(bytes)
      else
        for (const byte of bytes) {
          raw.socket.write(Buffer.from([byte]))
          await new Promise(resolve => setImmediate(resolve))
        }
      await raw.until('connack')
      expect(senders.get('connect connect')).toMatchObject({ client: 'p', ip: '203.0.113.9' })
    }
  })
  it('a proxy that sends no header counts by its own address', async () => {
    const { gate, senders } = witness()
    const test = await startTcp(gate, trust)
    await test.connectRaw({ clientId: 'direct' })
    expect(senders.get('connect connect')).toMatchObject({ client: 'direct', ip: '127.0.0.1' })
  })
  it('a header of an untrusted peer is a protocol error', async () => {
    const { gate, senders } = witness()
    const test = await startTcp(gate, trustProxies(['10.0.0.0/8']))
    const raw = await test.connectRaw()
    // As MQTT its first byte is a PUBREC of 82 bytes.
    const header = Buffer.from('PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883\r\n')
    raw.socket.write(Buffer.concat([header, connect, Buffer.alloc(100)]))
    await eventually(() => expect(raw.closed).toBe(true))
    expect(senders.size).toBe(0)
  })
  it('a malformed or late header closes the connection', async () => {
    const { gate } = witness()
    const test = await startTcp(gate, trust)
    const broken = await test.connectRaw()
    broken.socket.write('PROXY TCP4 nonsense\r\n')
    const silent = await test.connectRaw()
    await eventually(() => expect([broken.closed, silent.closed]).toEqual([true, true]))
  })
})
