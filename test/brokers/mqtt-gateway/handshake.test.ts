import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { until } from '../../support/wait.ts'
import { serveGateway, startGateway } from './harness.ts'
import { connectPacket, publishPacket, startScriptedBroker } from './raw-peer.ts'

const ACCEPTED = { cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false } as const

describe('before the CONNACK', () => {
  it('AUTH packets pass in both directions, and other packets wait', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const client = await scene.connectRaw()
    const properties = { authenticationMethod: 'SCRAM', authenticationData: Buffer.from('1') }
    client.sendConnect({ clientId: 'c', protocolVersion: 5, properties })
    const upstream = await broker.accepted()
    upstream.setVersion(5)
    await upstream.received('connect')
    upstream.send({ cmd: 'auth', reasonCode: 0x18, properties })
    await client.received('auth')
    client.send(publishPacket('early'), { cmd: 'auth', reasonCode: 0x18, properties })
    await upstream.received('auth')
    expect(upstream.count('publish')).toBe(0)
    upstream.send(ACCEPTED)
    await upstream.received('publish')
    // The shortest AUTH of MQTT 5, for a new authentication.
    const shortest = Buffer.from([0xf0, 0])
    client.send(shortest)
    upstream.send(shortest)
    await until(
      () => upstream.bytes.subarray(-2).equals(shortest) && client.bytes.subarray(-2).equals(shortest),
    )
    expect(client.isClosed || upstream.isClosed).toBe(false)
  })

  it('messages of a client that disconnects at once are delivered', async () => {
    await using scene = await startGateway()
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('#')
    const client = await scene.connectRaw()
    client.send(connectPacket({ clientId: 'c' }), publishPacket('a'), { cmd: 'disconnect' })
    client.socket.end()
    await receiver.received(1)
    expect(receiver.messages[0]).toMatchObject({ topic: 'a' })
    await until(() => scene.gateway.stats().connections === 0)
  })

  it('no broker is dialed for anything but a complete CONNECT', async () => {
    await using scene = await startGateway()
    const early = await scene.connectRaw()
    early.send(publishPacket('a'))
    await early.closed()
    const slow = await scene.connectRaw()
    slow.send(slow.encode(connectPacket({ clientId: 'c' })).subarray(0, 10))
    const large = await scene.connectRaw()
    large.send(connectPacket({ clientId: 'c', username: 'u', password: Buffer.alloc(140_000) }))
    await large.closed().catch(() => {})
    expect(scene.upstreams).toHaveLength(0)
    expect(slow.isClosed).toBe(false)
    expect(scene.gateway.stats()).toMatchObject({ malformed: 1 })
  })

  it('a client has ten seconds for its CONNECT, and a broker a minute for its CONNACK', async () => {
    const clock = new FakeClock()
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate: new Gate({ clock }) })
    const silent = await scene.connectRaw()
    await until(() => scene.gateway.stats().connections === 1)
    clock.advance(9_999)
    const waiting = await scene.connectRaw()
    waiting.sendConnect({ clientId: 'c' })
    await broker.accepted()
    expect(silent.isClosed).toBe(false)
    clock.advance(1)
    await silent.closed()
    clock.advance(59_000)
    expect(waiting.isClosed).toBe(false)
    clock.advance(1_000)
    expect(await waiting.received('connack')).toMatchObject({ returnCode: 3 })
    await waiting.closed()
    await broker.peers[0]!.closed()
    await until(() => scene.gateway.stats().connections === 0)
  })

  it('a CONNECT that has arrived in time is read, even if the gateway was too busy to read it before', async () => {
    const clock = new (class extends FakeClock {
      afterTurn(run: () => void): void {
        setTimeout(() => setImmediate(run))
      }
    })()
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate: new Gate({ clock }) })
    const client = await scene.connectRaw()
    await until(() => scene.gateway.stats().connections === 1)
    client.sendConnect({ clientId: 'c' })
    clock.advance(10_000)
    const upstream = await broker.accepted()
    await upstream.received('connect')
    expect(client.isClosed).toBe(false)
  })

  it('a lost client ends its connection to the broker at once', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const client = await scene.connectRaw()
    client.send(connectPacket({ clientId: 'c' }), publishPacket('a'))
    const upstream = await broker.accepted()
    await upstream.received('connect')
    client.socket.resetAndDestroy()
    await upstream.closed()
    await until(() => scene.gateway.stats().connections === 0)
    expect(upstream.count('publish')).toBe(0)
  })

  it('a client that ends with unsent messages keeps its connection to the broker for ten seconds', async () => {
    const clock = new FakeClock()
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate: new Gate({ clock }) })
    const [client, empty] = [await scene.connectRaw(), await scene.connectRaw()]
    client.send(connectPacket({ clientId: 'c' }), publishPacket('a'))
    const upstream = await broker.accepted()
    await upstream.received('connect')
    empty.send(connectPacket({ clientId: 'empty' }))
    const other = await broker.accepted(1)
    await other.received('connect')
    client.socket.end()
    empty.socket.end()
    await Promise.all([client.closed(), other.closed()])
    clock.advance(9_999)
    expect(upstream.isClosed).toBe(false)
    clock.advance(1)
    await upstream.closed()
  })

  it('a bridge that sets bit 7 of the protocol level is accepted and limited', async () => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'drop' }))
    await using scene = await startGateway({ gate })
    const client = await scene.connectRaw()
    const packet = client.encode(connectPacket({ clientId: 'bridge' }))
    packet[8]! |= 0x80
    client.send(packet)
    expect(await client.received('connack')).toMatchObject({ returnCode: 0 })
    client.send(publishPacket('a'), publishPacket('a'))
    await client.roundTrip()
    expect(scene.gateway.stats().dropped).toBe(1)
    expect(scene.upstreams[0]!.bytes.subarray(0, packet.length).equals(packet)).toBe(true)
  })
})

describe('a reference to another server', () => {
  const properties = { serverReference: 'other:1883', reasonString: 'moved' }

  it.each([
    [false, 0x88, { reasonString: 'moved' }],
    [true, 0x9d, properties],
  ])('in a CONNACK, with `advertise` %s, comes as %i', async (advertise, reasonCode, expected) => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gateway: { advertise } })
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c', protocolVersion: 5 })
    const upstream = await broker.accepted()
    upstream.setVersion(5)
    upstream.send({ cmd: 'connack', reasonCode: 0x9d, sessionPresent: false, properties })
    const connack = await client.received('connack')
    expect(connack).toMatchObject({ reasonCode })
    expect({ ...(connack as { properties?: object }).properties }).toEqual(expected)
    await client.closed()
  })

  it.each([
    [false, 0x8b, { reasonString: 'moved' }],
    [true, 0x9c, properties],
  ])('in a DISCONNECT, with `advertise` %s, comes as %i', async (advertise, reasonCode, expected) => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gateway: { advertise } })
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c', protocolVersion: 5 })
    const upstream = await broker.accepted()
    upstream.setVersion(5)
    upstream.send(ACCEPTED, { cmd: 'disconnect', reasonCode: 0x9c, properties })
    upstream.socket.end()
    const disconnect = await client.received('disconnect')
    expect(disconnect).toMatchObject({ reasonCode })
    expect({ ...(disconnect as { properties?: object }).properties }).toEqual(expected)
    await client.closed()
    expect(client.count('disconnect')).toBe(1)
  })
})

it('the common name of a client certificate replaces the username, and all else stays', async () => {
  await using broker = await startScriptedBroker()
  await using scene = await serveGateway(() => broker.port, {
    gateway: { usernameFrom: 'cn' },
    peer: { ip: '10.0.0.1', tls: { authorized: true, commonName: 'device 7' } },
  })
  const client = await scene.connectRaw()
  const will = { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: true } as const
  client.sendConnect({ clientId: 'c', protocolVersion: 5, will, username: 'x', password: Buffer.from('p') })
  const upstream = await broker.accepted()
  upstream.setVersion(5)
  expect(await upstream.received('connect')).toMatchObject({
    clientId: 'c',
    username: 'device 7',
    password: Buffer.from('p'),
    will,
  })
  upstream.send(ACCEPTED)
  await client.received('connack')
  expect(scene.gateway.senderOf('c')).toMatchObject({ client: 'c', user: 'device 7', ip: '10.0.0.1' })
})

it('clients that connect at the same time are throttled, and none is refused', async () => {
  const gate = new Gate()
  gate.use(limit({ name: 'r', on: 'connect', rate: '20/s burst 1', per: 'ip', exceeded: 'throttle' }))
  await using scene = await startGateway({ gate })
  const clients = await Promise.all(Array.from({ length: 6 }, () => scene.connectRaw()))
  const answers = await Promise.all(clients.map((client, index) => client.open({ clientId: `c${index}` })))
  expect(answers.map(({ returnCode }) => returnCode)).toEqual([0, 0, 0, 0, 0, 0])
})
