import type { IPublishPacket } from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { Gate, limit, type Middleware } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { type GatewayOptions, type ServedGateway, serveGateway } from './harness.ts'
import { publishPacket, type RawPeer, type ScriptedBroker, startScriptedBroker } from './raw-peer.ts'

const PAYLOAD = Buffer.alloc(300_000, 'x')
/** Bytes of a message that are sent first: its topic and some of its payload. */
const FIRST_BYTES = 20_000

interface Scene extends AsyncDisposable {
  readonly broker: ScriptedBroker
  readonly gateway: ServedGateway
  readonly client: RawPeer
  readonly upstream: RawPeer
  /** Decisions about publishes. */
  readonly decisions: string[]
}

/** Connects a client of MQTT 5 to a broker that offers ten topic aliases. */
async function openScene(...middleware: readonly Middleware[]): Promise<Scene> {
  const gate = new Gate()
  for (const each of middleware) gate.use(each)
  return openSceneWith({ gate })
}

async function openSceneWith({ gate = new Gate(), ...options }: GatewayOptions): Promise<Scene> {
  const decisions: string[] = []
  gate.on('decision', ({ outcome }, { on }) => {
    if (on === 'publish') decisions.push(outcome)
  })
  const broker = await startScriptedBroker()
  const gateway = await serveGateway(() => broker.port, { gate, ...options })
  const client = await gateway.connectRaw()
  client.sendConnect({ clientId: 'c', protocolVersion: 5 })
  const upstream = await broker.accepted()
  upstream.setVersion(5)
  await upstream.received('connect')
  upstream.send({
    ...{ cmd: 'connack', sessionPresent: false, reasonCode: 0, properties: { topicAliasMaximum: 10 } },
  })
  await client.received('connack')
  return {
    broker,
    gateway,
    client,
    upstream,
    decisions,
    [Symbol.asyncDispose]: async () => {
      await gateway.close()
      await broker[Symbol.asyncDispose]()
    },
  }
}

describe('a large message', () => {
  it('is forwarded while it arrives', async () => {
    await using scene = await openScene(limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'reject' }))
    const { client, upstream, decisions } = scene
    const before = upstream.bytes.length
    const packet = client.encode(publishPacket('a', { payload: PAYLOAD, qos: 1, messageId: 1 }))
    client.send(packet.subarray(0, FIRST_BYTES))
    await until(() => upstream.bytes.length === before + FIRST_BYTES)
    expect(decisions).toEqual(['deliver'])
    client.send(packet.subarray(FIRST_BYTES))
    await until(() => upstream.bytes.length === before + packet.length)
    expect(upstream.bytes.subarray(before).equals(packet)).toBe(true)
    expect(decisions).toEqual(['deliver'])
  })

  it.each([
    ['reject', 0x97],
    ['drop', 0],
  ] as const)('with %s is answered while it arrives, and its bytes are discarded', async (exceeded, code) => {
    await using scene = await openScene(limit({ name: 'r', maxSize: '1kB', exceeded }))
    const { client, upstream, decisions } = scene
    const before = upstream.bytes.length
    const packet = client.encode(publishPacket('a', { payload: PAYLOAD, qos: 1, messageId: 1 }))
    client.send(packet.subarray(0, FIRST_BYTES))
    expect(await client.received('puback')).toMatchObject({ messageId: 1, reasonCode: code })
    client.send(packet.subarray(FIRST_BYTES), publishPacket('a', { payload: 'small' }))
    await upstream.received('publish')
    expect(upstream.packets.at(-1)).toMatchObject({ payload: Buffer.from('small') })
    expect(upstream.bytes.length).toBe(before + 11)
    expect(decisions).toEqual([exceeded, 'deliver'])
  })

  it('waits for its payload if a rule needs it', async () => {
    const when = { payload: { field: 'kind', equals: 'alarm' } }
    await using scene = await openScene(limit({ name: 'r', maxSize: '0B', when, exceeded: 'reject' }))
    const { client, upstream, decisions } = scene
    const before = upstream.bytes.length
    const payload = JSON.stringify({ text: 'x'.repeat(40_000), kind: 'alarm' })
    const packet = client.encode(publishPacket('a', { payload, qos: 1, messageId: 1 }))
    client.send(packet.subarray(0, FIRST_BYTES))
    client.send(packet.subarray(FIRST_BYTES))
    expect(await client.received('puback')).toMatchObject({ messageId: 1, reasonCode: 0x97 })
    expect(decisions).toEqual(['reject'])
    expect(upstream.bytes.length).toBe(before)
  })

  it('that is held is decided once, and passes as a whole in its turn', async () => {
    await using scene = await openScene(limit({ name: 'r', rate: '5/s burst 1', exceeded: 'throttle' }))
    const { client, upstream } = scene
    client.send(publishPacket('a', { payload: 'first' }))
    const packet = client.encode(publishPacket('a', { payload: PAYLOAD, qos: 1, messageId: 1 }))
    await upstream.received('publish')
    const before = upstream.bytes.length
    client.send(packet.subarray(0, FIRST_BYTES))
    client.send(packet.subarray(FIRST_BYTES), publishPacket('a', { payload: 'last' }))
    await upstream.received('publish', 3)
    expect(upstream.bytes.subarray(before, before + packet.length).equals(packet)).toBe(true)
    expect(upstream.packets.at(-1)).toMatchObject({ payload: Buffer.from('last') })
    expect(scene.gateway.gateway.stats()).toMatchObject({ overflowed: 0, held: 0 })
  })

  it('gets the topic that the broker lacks, because the message that set its alias was refused', async () => {
    const exceeded = 'drop'
    await using scene = await openScene(limit({ name: 'r', maxSize: '1B', when: { qos: 0 }, exceeded }))
    const { client, upstream } = scene
    const properties = { topicAlias: 3 }
    client.send(publishPacket('a/b', { payload: 'refused', properties }))
    const packet = client.encode(publishPacket('', { payload: PAYLOAD, qos: 1, messageId: 1, properties }))
    client.send(packet.subarray(0, FIRST_BYTES))
    client.send(packet.subarray(FIRST_BYTES))
    const { topic, payload } = (await upstream.received('publish')) as IPublishPacket
    expect(topic).toBe('a/b')
    expect(PAYLOAD.equals(payload as Buffer)).toBe(true)
    client.send(packet.subarray(0, FIRST_BYTES))
    client.send(packet.subarray(FIRST_BYTES))
    expect(await upstream.received('publish', 2)).toMatchObject({ topic: '', properties })
  })

  it('that is incomplete at the end gets no DISCONNECT into its payload', async () => {
    await using scene = await openScene()
    const { client, upstream, gateway } = scene
    const packet = client.encode(publishPacket('a', { payload: PAYLOAD }))
    const before = upstream.bytes.length
    client.send(packet.subarray(0, -2))
    await until(() => upstream.bytes.length === before + packet.length - 2)
    await gateway.gateway.close({ graceMs: 1 })
    await upstream.closed()
    expect(upstream.count('publish')).toBe(0)
    expect(upstream.bytes.length).toBe(before + packet.length - 2)
  })
})
