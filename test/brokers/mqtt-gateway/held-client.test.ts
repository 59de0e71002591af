import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { type ServedGateway, serveGateway, startGateway } from './harness.ts'
import { publishPacket, type RawPeer, type ScriptedBroker, startScriptedBroker } from './raw-peer.ts'

/** A gate that lets one message on `a` pass, and holds the others. */
function holdingGate(): Gate {
  const gate = new Gate()
  gate.use('a', limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'throttle' }))
  return gate
}

/** Connects a client that the broker accepts. */
async function connectAccepted(
  broker: ScriptedBroker,
  scene: ServedGateway,
): Promise<{ readonly client: RawPeer; readonly upstream: RawPeer }> {
  const client = await scene.connectRaw()
  client.sendConnect({ clientId: 'c' })
  const upstream = await broker.accepted()
  upstream.send({ cmd: 'connack', returnCode: 0, sessionPresent: false })
  await client.received('connack')
  return { client, upstream }
}

describe('a client whose message is held', () => {
  it('gets answers to its PINGREQs, and its acknowledgements overtake', async () => {
    await using scene = await startGateway({ gate: holdingGate() })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c' })
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'to/c', qos: 1 }] })
    await client.received('suback')
    client.send(publishPacket('a'), publishPacket('a', { qos: 1, messageId: 2 }), publishPacket('b'))
    await client.roundTrip()
    await client.roundTrip()
    const other = await scene.connectDirectly()
    await other.publish('to/c', 'x', { qos: 1 })
    const delivered = await client.received('publish')
    const puback = client.encode({ cmd: 'puback', messageId: Number(delivered.messageId) })
    client.send(puback)
    await until(() => scene.upstreams[0]!.bytes.includes(puback))
    expect(scene.gateway.stats().held).toBe(1)
    expect(client.count('puback')).toBe(0)
  })

  it('is read 64 KiB ahead, and no further', async () => {
    await using scene = await startGateway({ gate: holdingGate() })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c' })
    client.send(publishPacket('a'), publishPacket('a'))
    await client.roundTrip()
    const bytes = client.encode(publishPacket('b', { payload: Buffer.alloc(1_000) }))
    client.socket.write(Buffer.concat(Array.from({ length: 20_000 }, () => bytes)))
    await until(() => scene.gateway.stats().clientsUnread === 1)
    expect(client.socket.writableLength).toBeGreaterThan(1_000_000)
    expect(client.isClosed).toBe(false)
  })

  it('keeps its connection to the broker alive, and is closed when it falls silent', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate: holdingGate() })
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c', protocolVersion: 5, keepalive: 60 })
    const upstream = await broker.accepted()
    upstream.setVersion(5)
    upstream.send({
      ...{ cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false },
      properties: { serverKeepAlive: 1 },
    })
    client.send(publishPacket('a'), publishPacket('a'))
    await upstream.received('pingreq', 2)
    upstream.send({ cmd: 'pingresp' }, { cmd: 'pingresp' })
    expect(await client.received('disconnect')).toMatchObject({ reasonCode: 0x8d })
    await client.closed()
    expect(client.count('pingresp')).toBe(0)
  })

  it.each([
    [5, 0x8b],
    [4, undefined],
  ] as const)(
    'is disconnected when the broker falls silent, although its PINGREQs are answered: MQTT %d',
    async (protocolVersion, reasonCode) => {
      await using broker = await startScriptedBroker()
      await using scene = await serveGateway(() => broker.port, { gateway: { window: 1 } })
      const client = await scene.connectRaw()
      client.sendConnect({ clientId: 'c', protocolVersion, keepalive: 1 })
      const upstream = await broker.accepted()
      upstream.setVersion(protocolVersion)
      upstream.send({
        ...{ cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false },
        properties: { receiveMaximum: 1 },
      })
      client.send(...[1, 2].map(messageId => publishPacket('a', { qos: 1, messageId })))
      const pinging = setInterval(() => client.send({ cmd: 'pingreq' }), 200)
      try {
        await client.closed()
      } finally {
        clearInterval(pinging)
      }
      expect(client.count('pingresp')).toBeGreaterThan(0)
      const disconnect = client.packets.find(({ cmd }) => cmd === 'disconnect')
      expect(disconnect).toEqual(reasonCode && expect.objectContaining({ reasonCode }))
      await until(() => scene.gateway.stats().connections === 0)
      expect(upstream.isClosed).toBe(true)
    },
  )

  it.each(['throttle', 'queue'] as const)(
    'passes its messages of %s after it has disconnected',
    async exceeded => {
      const gate = new Gate()
      gate.use('a', limit({ name: 'r', rate: '20/s burst 1', exceeded }))
      await using scene = await startGateway({ gate })
      const receiver = await scene.connectDirectly()
      await receiver.subscribe('#', 1)
      const client = await scene.connectRaw()
      await client.open({
        clientId: 'c',
        will: { topic: 'will', payload: Buffer.from('x'), qos: 0, retain: false },
      })
      const packets = Array.from({ length: 10 }, (_, index) => publishPacket('a', { payload: String(index) }))
      client.send(...packets, { cmd: 'disconnect' })
      client.socket.end()
      await receiver.received(10)
      await until(() => scene.gateway.stats().connections === 0)
      expect(receiver.messages.map(({ text }) => text)).toEqual(
        Array.from({ length: 10 }, (_, n) => String(n)),
      )
    },
  )

  it('loses nothing that the limits allow when the gateway closes', async () => {
    await using scene = await startGateway({ gate: holdingGate() })
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('#', 1)
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c' })
    const allowed = Array.from({ length: 200 }, (_, index) => `b/${index}`)
    client.send(
      ...[publishPacket('a'), publishPacket('a')],
      ...allowed.slice(0, 100).map(topic => publishPacket(topic)),
      ...[publishPacket('b/acknowledged', { qos: 1, messageId: 1 }), publishPacket('a')],
      ...allowed.slice(100).map(topic => publishPacket(topic)),
    )
    await until(() => scene.gateway.stats().held > 0)
    await scene.gateway.close({ graceMs: 100 })
    await client.closed()
    await receiver.publish('last', 'x', { qos: 1 })
    await until(() => receiver.messages.at(-1)?.topic === 'last')
    // Messages of QoS 1 without an acknowledgement stay with the client.
    expect(receiver.messages.map(({ topic }) => topic)).toEqual(['a', ...allowed, 'last'])
    expect(client.count('puback')).toBe(0)
  })

  it('keeps the order of its UNSUBSCRIBE and DISCONNECT', async () => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', rate: '20/s burst 1', exceeded: 'throttle' }))
    await using scene = await startGateway({ gate })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c' })
    client.send(
      { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] },
      publishPacket('a'),
      publishPacket('a'),
      publishPacket('a'),
      { cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] },
    )
    await client.received('unsuback')
    expect(client.count('publish')).toBe(3)
  })
})

describe('a socket that is not read', () => {
  it('stops the reading of its client', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const { client, upstream } = await connectAccepted(broker, scene)
    upstream.socket.pause()
    const bytes = client.encode(publishPacket('b', { payload: Buffer.alloc(100_000) }))
    for (let index = 0; index < 500; index++) client.socket.write(bytes)
    await until(() => scene.gateway.stats().clientsUnread === 1)
    await until(() => client.socket.writableLength > 10_000_000)
    const unsent = scene.upstreams[0]!.socket.writableLength
    expect(unsent).toBeLessThan(300_000)
    upstream.socket.resume()
    await upstream.received('publish', 500)
    expect(scene.gateway.stats().clientsPausedMs).toBeGreaterThan(0)
  })

  it('stops the reading of the broker, but of no other client', async () => {
    await using scene = await startGateway()
    const slow = await scene.connectRaw()
    await slow.open({ clientId: 'slow' })
    slow.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'flood', qos: 0 }] })
    await slow.received('suback')
    slow.socket.pause()
    const publisher = await scene.connectDirectly()
    for (let index = 0; index < 200; index++) await publisher.publish('flood', Buffer.alloc(100_000))
    await until(() => scene.gateway.stats().brokersUnread === 1)
    const quick = await scene.connect()
    await quick.subscribe('quick', 1)
    await publisher.publish('quick', 'x', { qos: 1 })
    expect(await quick.received(1)).toHaveLength(1)
  })

  it('leaves a flood for a client that does not read at the broker', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const { client, upstream } = await connectAccepted(broker, scene)
    client.socket.pause()
    const bytes = upstream.encode(publishPacket('b', { payload: Buffer.alloc(100_000) }))
    for (let index = 0; index < 500; index++) upstream.socket.write(bytes)
    await until(() => scene.gateway.stats().brokersUnread === 1)
    // The rest is in the buffers of the system, and at most 64 KiB and one chunk in the gateway.
    expect(upstream.socket.writableLength).toBeGreaterThan(10_000_000)
    expect(scene.clientBytes()).toBeLessThan(300_000)
    client.socket.resume()
    await client.received('publish', 500)
    await until(() => scene.gateway.stats().brokersUnread === 0)
  })

  it('stops the reading of a client that does not read the answers to its refused messages', async () => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'drop' }))
    await using scene = await startGateway({ gate })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c' })
    client.socket.pause()
    const bytes = client.encode(publishPacket('a', { qos: 1, messageId: 1 }))
    const chunk = Buffer.concat(Array.from({ length: 10_000 }, () => bytes))
    for (let index = 0; index < 300; index++) client.socket.write(chunk)
    await until(() => scene.gateway.stats().clientsUnread === 1)
    expect(client.socket.writableLength).toBeGreaterThan(1_000_000)
  })
})

it('a client that sends a packet slowly keeps its connection to the broker alive', async () => {
  await using broker = await startScriptedBroker()
  await using scene = await serveGateway(() => broker.port)
  const client = await scene.connectRaw()
  client.sendConnect({ clientId: 'c', keepalive: 3 })
  const upstream = await broker.accepted()
  upstream.send({ cmd: 'connack', returnCode: 0, sessionPresent: false })
  const packet = client.encode(publishPacket('a'))
  client.send(packet.subarray(0, 4))
  await upstream.received('pingreq')
  client.send(packet.subarray(4))
  expect(await upstream.received('publish')).toMatchObject({ topic: 'a' })
})
