import { connect } from 'mqtt'
import { describe, expect, it } from 'vitest'
import { limitConsumer, limitPublishes } from '../../brokers/mqtt/index.ts'
import { Gate, limit } from '../../src/index.ts'
import { openRedis } from '../../src/stores/redis/index.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'

const MESSAGES = 300
const TOPICS = 10
const PASSING = 20
const LATENCY_MS = 30

describe('an MQTT consumer whose store takes its time', () => {
  it.each([
    [4, 0],
    [4, 1],
    [4, 2],
    [5, 0],
    [5, 1],
  ] as const)(
    'asks about many messages at once, keeps their order, and counts each once: MQTT %d, QoS %d',
    async (version, qos) => {
      await using broker = await startMosquitto({ config: ['max_queued_messages 10000'] })
      await using redis = await startRedis()
      await using proxy = await FaultProxy.start(redis.port)
      const store = await openRedis(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 10_000 })
      await until(async () => (await store.health()).ok)
      const gate = new Gate({ store }).use(
        limit({ name: 'r', rate: `${PASSING} per 1000s`, per: 'topic', exceeded: 'reject' }),
      )
      await using consumer = await connectClient({
        ...{ port: broker.port, clientId: 'consumer', protocolVersion: version },
      })
      const brought: unknown[] = []
      const acknowledged: unknown[] = []
      consumer.client.on('packetreceive', packet => {
        if (packet.cmd === (qos === 2 ? 'pubrel' : 'publish')) brought.push(packet.messageId)
      })
      consumer.client.on('packetsend', packet => {
        if (packet.cmd === 'puback' || packet.cmd === 'pubcomp') acknowledged.push(packet.messageId)
      })
      const seen = new Map<string, number[]>()
      let running = 0
      const limits = limitConsumer(consumer.client, gate, {
        decideTimeoutMs: 10_000,
        handler: async (topic, payload) => {
          expect(++running).toBe(1)
          await Promise.resolve()
          seen.set(topic, [...(seen.get(topic) ?? []), Number(payload)])
          running--
        },
      })
      await consumer.subscribe('in/#', qos)
      await using sender = await connectClient({ port: broker.port, clientId: 'sender' })
      const publisher = limitPublishes(sender.client, { rate: 'unlimited' })
      proxy.fault = { latencyMs: LATENCY_MS }
      for (let index = 0; index < MESSAGES; index++)
        void publisher.publish(`in/${index % TOPICS}`, String(index), { qos })
      await until(
        () => limits.stats().received === MESSAGES && limits.stats().delivered === TOPICS * PASSING,
        { timeoutMs: 60_000, what: () => `all to be done: ${JSON.stringify(limits.stats())}` },
      )
      await limits.drain()
      const told = version === 5 && qos === 1
      const refused = MESSAGES - TOPICS * PASSING
      expect(limits.stats()).toMatchObject({
        ...{ delivered: TOPICS * PASSING, dropped: told ? 0 : refused, rejected: told ? refused : 0 },
        ...{ fallbacks: 0, overflowed: 0, held: 0, discarded: 0, handlerFailures: 0 },
      })
      const first = (topic: number): number[] =>
        Array.from({ length: PASSING }, (_, index) => index * TOPICS + topic)
      for (let topic = 0; topic < TOPICS; topic++) expect(seen.get(`in/${topic}`)).toEqual(first(topic))
      // Many are asked about at once, and never more wait than the window takes.
      expect(limits.stats().heldPeak).toBeGreaterThan(8)
      expect(limits.stats().heldPeak).toBeLessThanOrEqual(31)
      if (qos > 0) await until(() => acknowledged.length === MESSAGES)
      if (qos > 0) expect(acknowledged).toEqual(brought)
      limits.close()
      publisher.close()
      await gate.close()
      await store.close()
    },
  )

  it.each([
    [4, 1],
    [4, 2],
    [5, 1],
    [5, 2],
  ] as const)(
    'loses nothing over connections that are reset while it asks: MQTT %d, QoS %d',
    async (version, qos) => {
      await using broker = await startMosquitto({ config: ['max_queued_messages 10000'] })
      await using redis = await startRedis()
      await using slow = await FaultProxy.start(redis.port)
      await using line = await FaultProxy.start(broker.port)
      const store = await openRedis(`redis://127.0.0.1:${slow.port}`, { timeoutMs: 10_000 })
      await until(async () => (await store.health()).ok)
      const gate = new Gate({ store }).use(limit({ name: 'r', rate: '1000000/s', exceeded: 'drop' }))
      const client = connect({
        ...{ host: '127.0.0.1', port: line.port, clientId: 'consumer', clean: false, reconnectPeriod: 20 },
        ...(version === 5 && { properties: { sessionExpiryInterval: 60 } }),
        protocolVersion: version,
      })
      client.on('error', () => {})
      const seen: string[] = []
      const again: boolean[] = []
      const limits = limitConsumer(client, gate, {
        decideTimeoutMs: 10_000,
        handler: (_topic, payload, { dup }) => {
          const text = String(payload)
          if (seen.includes(text)) again.push(dup === true)
          seen.push(text)
        },
      })
      await client.subscribeAsync('in/#', { qos })
      slow.fault = { latencyMs: 5 }
      await using sender = await connectClient({ port: broker.port, clientId: 'sender' })
      const publisher = limitPublishes(sender.client, { rate: 'unlimited' })
      for (let index = 0; index < MESSAGES; index++) void publisher.publish('in/a', String(index), { qos })
      for (const count of [60, 150]) {
        await until(() => seen.length >= count)
        line.fault = 'reset'
        await until(() => !client.connected)
        line.fault = 'none'
      }
      await until(() => new Set(seen).size === MESSAGES, { timeoutMs: 60_000 })
      await limits.drain()
      // What was handled, and whose acknowledgement had not come to the broker, comes again at QoS 1, and is said to.
      expect(again).toEqual(qos === 2 ? [] : again.map(() => true))
      expect(limits.stats()).toMatchObject({ held: 0, fallbacks: 0, overflowed: 0 })
      limits.close()
      publisher.close()
      await client.endAsync(true)
      await gate.close()
      await store.close()
    },
  )
})
