import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { limitPublishes } from '../../../brokers/mqtt/index.ts'
import { findSizeProblem } from '../../../brokers/mqtt/validate-publish.ts'
import { type MosquittoServer, startMosquitto } from '../../support/mosquitto.ts'
import { until } from '../../support/wait.ts'

let broker: MosquittoServer
beforeAll(async () => {
  broker = await startMosquitto({ config: ['max_packet_size 2000'] })
})
afterAll(() => broker.stop())

async function open(protocolVersion: 4 | 5): Promise<MqttClient> {
  const client = await connectAsync({
    host: '127.0.0.1',
    port: broker.port,
    protocolVersion,
    reconnectPeriod: 50,
  })
  client.on('error', () => {})
  return client
}

const LONG = 'x'.repeat(70_000)

/** Arguments of `publish` that no broker would take. */
const WRONG: readonly (readonly [name: string, ...args: readonly unknown[]])[] = [
  ['an empty topic', '', 'x', { qos: 1 }],
  ['a topic that is a number', 5, 'x'],
  ['no topic', undefined, 'x'],
  ['U+0000 in the topic', 'a\0b', 'x', { qos: 1 }],
  ['a wildcard in the topic', 'a/+', 'x', { qos: 1 }],
  ['half a surrogate pair in the topic', 'a\ud800', 'x'],
  ['a topic that is too long', LONG, 'x', { qos: 1 }],
  ['a payload that is a number', 'a', 7],
  ['a payload that is an object', 'a', {}],
  ['no payload', 'a', undefined],
  ['QoS 9', 'a', 'x', { qos: 9 }],
  ['QoS as text', 'a', 'x', { qos: '1' }],
  ['retain as text', 'a', 'x', { retain: 'yes' }],
  ['a priority that does not exist', 'a', 'x', { priority: 11 }],
  ['a signal that is none', 'a', 'x', { signal: {} }],
  ['properties that are a number', 'a', 'x', { qos: 1, properties: 5 }],
  ['user properties that are a number', 'a', 'x', { qos: 1, properties: { userProperties: 5 } }],
  ['a user property that is null', 'a', 'x', { qos: 1, properties: { userProperties: { a: null } } }],
  ['a property that does not exist', 'a', 'x', { qos: 1, properties: { no: 1 } }],
  ['an alias of 0', 'a', 'x', { qos: 1, properties: { topicAlias: 0 } }],
  ['a subscription id', 'a', 'x', { qos: 1, properties: { subscriptionIdentifier: 1 } }],
  ['a wildcard in the response topic', 'a', 'x', { qos: 1, properties: { responseTopic: 'a/#' } }],
  ['a content type that is too long', 'a', 'x', { qos: 1, properties: { contentType: LONG } }],
]

describe.each([4, 5] as const)('a limited publisher, MQTT %d', version => {
  it.each(WRONG)('answers %s with failed, and goes on', async (_name, ...args) => {
    const client = await open(version)
    let closes = 0
    client.on('close', () => closes++)
    const publisher = limitPublishes(client, { rate: '1000/s burst 1000' }, { maxInFlight: 2 })
    const publish = publisher.publish as (...args: readonly unknown[]) => ReturnType<typeof publisher.publish>
    // More of them than may be under way.
    for (let count = 0; count < 3; count++)
      expect(await publish(...args)).toMatchObject({
        outcome: 'failed',
        attempts: 0,
        error: expect.any(Error),
      })
    expect(publisher.stats()).toMatchObject({ failed: 3, waiting: 0, waitingBytes: 0, underWay: 0 })
    expect(await publisher.publish('fine', 'x', { qos: 1 })).toMatchObject({ outcome: 'sent' })
    expect(closes).toBe(0)
    publisher.close()
    await client.endAsync(true)
  })

  it.each([0, 1, 2] as const)('settles every message when its client is ended, QoS %d', async qos => {
    const client = await open(version)
    const publisher = limitPublishes(client, { rate: '1000/s burst 30' })
    const all = Array.from({ length: 60 }, (_, index) => publisher.publish('a', String(index), { qos }))
    await client.endAsync(true)
    expect(await publisher.flush()).toBe(true)
    publisher.close()
    for (const { outcome, why } of await Promise.all(all))
      expect(['sent', 'failed', 'closed']).toContain(why ?? outcome)
    expect(await publisher.publish('a', 'late', { qos })).toMatchObject({ outcome: 'dropped', why: 'closed' })
  })

  it('settles what was under way when it is closed and its client then ends, and leaves no listener', async () => {
    const client = await open(version)
    const listeners = client.listenerCount('close')
    const publisher = limitPublishes(client, { rate: 'unlimited' })
    const all = Array.from({ length: 10 }, () => publisher.publish('a', 'x', { qos: 2 }))
    publisher.close()
    await client.endAsync(true)
    for (const { outcome } of await Promise.all(all)) expect(['sent', 'failed']).toContain(outcome)
    expect(await publisher.flush()).toBe(true)
    expect(client.listenerCount('close')).toBe(listeners)
  })

  it('settles what waits for a client that ends offline', async () => {
    const client = await open(version)
    client.stream.destroy()
    await until(() => !client.connected)
    const publisher = limitPublishes(client, { rate: 'unlimited' })
    const waiting = publisher.publish('a', 'x', { qos: 1 })
    await client.endAsync()
    expect(await waiting).toMatchObject({ outcome: 'dropped', why: 'closed' })
  })

  it('publishes again when an ended client is told to reconnect', async () => {
    const client = await open(version)
    const publisher = limitPublishes(client, { rate: 'unlimited' })
    await client.endAsync(true)
    expect(await publisher.publish('a', 'x', { qos: 1 })).toMatchObject({ why: 'closed' })
    client.reconnect()
    expect(await publisher.publish('a', 'x', { qos: 1 })).toMatchObject({ outcome: 'sent' })
    publisher.close()
    await client.endAsync(true)
  })
})

describe('a packet that is larger than the broker takes', () => {
  it('fails at once on MQTT 5, where the broker says what it takes', async () => {
    const client = await open(5)
    let closes = 0
    client.on('close', () => closes++)
    const publisher = limitPublishes(client, { rate: 'unlimited' })
    expect(await publisher.publish('a', 'x'.repeat(2_001), { qos: 1 })).toMatchObject({ outcome: 'failed' })
    expect(await publisher.publish('a', 'x'.repeat(1_900), { qos: 1 })).toMatchObject({ outcome: 'sent' })
    const userProperties = { a: 'x'.repeat(1_000), b: ['x'.repeat(1_000)] }
    expect(await publisher.publish('a', '', { qos: 1, properties: { userProperties } })).toMatchObject({
      outcome: 'failed',
    })
    expect(closes).toBe(0)
    publisher.close()
    await client.endAsync(true)
  })

  it('is told to the byte', () => {
    // Fixed header 2, topic 2 + 1, packet id 2, properties 1, payload 92.
    const message = { topic: 'a', size: 92 }
    expect(findSizeProblem(message, undefined, 100)).toBeUndefined()
    expect(findSizeProblem(message, undefined, 99)).toBeInstanceOf(RangeError)
    const properties = {
      contentType: 'text',
      userProperties: { a: ['1', '2'] },
      payloadFormatIndicator: undefined,
    }
    expect(findSizeProblem(message, properties, 100 + 7 + 14)).toBeUndefined()
    expect(findSizeProblem(message, properties, 100 + 7 + 14 - 1)).toBeInstanceOf(RangeError)
  })
})
