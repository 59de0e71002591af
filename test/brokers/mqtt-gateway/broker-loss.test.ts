import { chmod, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { startMosquitto } from '../../support/mosquitto.ts'
import { connectClient } from '../../support/mqtt-client.ts'
import { until } from '../../support/wait.ts'
import { serveGateway, startGateway } from './harness.ts'
import { publishPacket, startScriptedBroker } from './raw-peer.ts'

describe('without a broker', () => {
  it('a connect gets 0x88 with MQTT 5, and 3 before', async () => {
    await using scene = await serveGateway(() => 1)
    const client = await scene.connectRaw()
    expect(await client.open({ clientId: 'c', protocolVersion: 5 })).toMatchObject({ reasonCode: 0x88 })
    const older = await scene.connectRaw()
    expect(await older.open({ clientId: 'c' })).toMatchObject({ returnCode: 3 })
    expect(scene.gateway.stats()).toMatchObject({ upstreamConnectsFailed: 2 })
  })

  it('a connect whose broker closes instead of answering gets 0x88 with MQTT 5, and 3 before', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const [client, older] = [await scene.connectRaw(), await scene.connectRaw()]
    client.sendConnect({ clientId: 'c', protocolVersion: 5 })
    const first = await broker.accepted()
    await first.received('connect')
    first.socket.end()
    older.sendConnect({ clientId: 'o' })
    const second = await broker.accepted(1)
    await second.received('connect')
    second.socket.resetAndDestroy()
    expect(await client.received('connack')).toMatchObject({ reasonCode: 0x88 })
    expect(await older.received('connack')).toMatchObject({ returnCode: 3 })
    await Promise.all([client.closed(), older.closed()])
    expect(first.count('disconnect')).toBe(0)
    await until(() => scene.gateway.stats().connections === 0)
  })

  it('a connected client gets 0x8B with MQTT 5, and is closed before', async () => {
    await using scene = await startGateway()
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion: 5 })
    const older = await scene.connectRaw()
    await older.open({ clientId: 'o' })
    for (const { socket } of scene.upstreams) socket.destroy()
    expect(await client.received('disconnect')).toMatchObject({ reasonCode: 0x8b })
    await Promise.all([client.closed(), older.closed()])
    await until(() => scene.gateway.stats().connections === 0)
  })
})

describe('a client is closed when its broker', () => {
  const MALFORMED = Buffer.from([0x36, 3, 0, 1, 0x61])

  it('sends another packet than a CONNACK', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c' })
    const upstream = await broker.accepted()
    upstream.send(publishPacket('a'))
    await client.closed()
    await until(() => scene.gateway.stats().connections === 0)
    expect(scene.gateway.stats()).toMatchObject({ malformed: 1 })
  })

  it('sends a malformed packet', async () => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', on: 'deliver', rate: '1/s burst 1', exceeded: 'drop' }))
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate })
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c' })
    const upstream = await broker.accepted()
    upstream.send({ cmd: 'connack', returnCode: 0, sessionPresent: false }, MALFORMED)
    await client.closed()
    await until(() => scene.gateway.stats().connections === 0)
    expect(scene.gateway.stats()).toMatchObject({ malformed: 1 })
  })
})

it('no acknowledged message is lost when the broker is restarted', async () => {
  // Mosquitto keeps retained messages over its restart, and gives up the rights of root.
  const folder = await mkdtemp(join(tmpdir(), 'topicgate-'))
  await chmod(folder, 0o777)
  const config = ['persistence true', `persistence_location ${folder}/`]
  const first = await startMosquitto({ config })
  const { port } = first
  await using scene = await serveGateway(() => port)
  const client = await scene.connect({
    clientId: 'c',
    protocolVersion: 5,
    reconnectPeriod: 20,
    // Without it, MQTT.js gives up at the first CONNACK that refuses it.
    reconnectOnConnackError: true,
  })
  const received = new Set<string>()
  const acknowledged: string[] = []
  let sent = 0
  const sending = new Set<Promise<void>>()
  const send = (): void => {
    const text = String(sent++)
    const promise = client.client.publishAsync(`a/${text}`, text, { qos: 1, retain: true }).then(
      () => void acknowledged.push(text),
      () => {},
    )
    sending.add(promise)
    void promise.then(() => sending.delete(promise))
  }
  for (let index = 0; index < 200; index++) send()
  await until(() => acknowledged.length >= 100)
  await first.stop()
  const second = await startMosquitto({ port, config })
  try {
    for (let index = 0; index < 200; index++) send()
    await Promise.all(sending)
    expect(acknowledged.length).toBeGreaterThan(300)
    await using receiver = await connectClient({ port })
    receiver.client.on('message', (_topic, payload) => received.add(payload.toString()))
    await receiver.subscribe('a/#', 1)
    await until(() => acknowledged.every(text => received.has(text)))
  } finally {
    await client.close()
    await second.stop()
  }
})

describe('a gateway that is closed', () => {
  it('lets held messages pass, forwards their acknowledgements, and tells its clients', async () => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', rate: '20/s burst 1', exceeded: 'throttle' }))
    await using scene = await startGateway({ gate })
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('#', 1)
    const client = await scene.connectRaw()
    const will = { topic: 'will', payload: Buffer.from('x'), qos: 0, retain: false } as const
    await client.open({ clientId: 'c', protocolVersion: 5, will })
    client.send(...[1, 2, 3, 4, 5].map(messageId => publishPacket('a', { qos: 1, messageId })))
    await client.received('puback')
    await scene.gateway.close({ graceMs: 20_000 })
    await client.closed()
    const acknowledged = client.count('puback')
    await receiver.received(acknowledged)
    expect(client.packets.at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: 0x8b })
    await receiver.publish('end', 'x', { qos: 1 })
    await receiver.received(acknowledged + 1)
    expect(receiver.messages.map(({ topic }) => topic)).toEqual([
      ...Array.from({ length: acknowledged }, () => 'a'),
      'end',
    ])
  })

  it('is over when all packets are sent and the sockets are closed', async () => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port)
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c', protocolVersion: 5 })
    const upstream = await broker.accepted()
    await upstream.received('connect')
    // More than the system takes, so that the last packets wait behind it.
    const packet = upstream.encode(publishPacket('a', { payload: Buffer.alloc(900_000) }))
    const packets = Array.from({ length: 20 }, () => packet)
    client.socket.pause()
    upstream.setVersion(5)
    upstream.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0 }, ...packets)
    await until(() => scene.gateway.stats().brokersUnread === 1)
    let isOver = false
    const closed = scene.gateway.close().then(() => {
      isOver = true
    })
    await upstream.received('disconnect')
    expect(isOver).toBe(false)
    client.socket.resume()
    await closed
    expect(scene.upstreams[0]!.socket.closed).toBe(true)
    await client.closed()
    expect(client.bytes.length).toBeGreaterThan(packet.length)
  })

  it('leaves messages that may not pass in time without an acknowledgement', async () => {
    const gate = new Gate()
    gate.use('a', limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'throttle' }))
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate })
    const client = await scene.connectRaw()
    client.sendConnect({ clientId: 'c' })
    const upstream = await broker.accepted()
    upstream.send({ cmd: 'connack', returnCode: 0, sessionPresent: false })
    client.send(publishPacket('a', { qos: 1, messageId: 1 }), publishPacket('a', { qos: 1, messageId: 2 }))
    await upstream.received('publish')
    await until(() => scene.gateway.stats().held === 1)
    const closing = scene.gateway.close({ graceMs: 50 })
    upstream.send({ cmd: 'puback', messageId: 1 })
    await closing
    await client.closed()
    expect(client.packets.filter(({ cmd }) => cmd === 'puback')).toMatchObject([{ messageId: 1 }])
    expect(upstream.count('publish')).toBe(1)
    expect(upstream.packets.at(-1)).toMatchObject({ cmd: 'disconnect' })
  })
})
