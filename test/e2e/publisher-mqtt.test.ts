import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type MqttClient } from 'mqtt'
import { describe, expect, it } from 'vitest'
import { limitPublishes } from '../../brokers/mqtt/index.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'

const RECEIVE_MAXIMUM = ['max_inflight_messages 20', 'max_queued_messages 10000']

/** A client that comes back by itself. */
function open(port: number, options: Readonly<Record<string, unknown>> = {}): MqttClient {
  const client = connect({
    ...{ host: '127.0.0.1', port, protocolVersion: 5, clientId: 'publisher', clean: false },
    ...{ reconnectPeriod: 100, properties: { sessionExpiryInterval: 60 }, ...options },
  })
  client.on('error', () => {})
  return client
}

const countOf = (texts: readonly string[]): { readonly all: number; readonly distinct: number } => ({
  all: texts.length,
  distinct: new Set(texts).size,
})

describe('a limited MQTT publisher', () => {
  it.each([
    [5, 2],
    [5, 1],
    [4, 2],
    [4, 1],
  ] as const)(
    'MQTT %d, QoS %d: 500 at once against a Receive Maximum of 20, each delivered once',
    async (version, qos) => {
      await using broker = await startMosquitto({ config: RECEIVE_MAXIMUM })
      await using watcher = await connectClient({ port: broker.port, clientId: 'watcher' })
      await watcher.subscribe('out/#', 1)
      await using sender = await connectClient({
        port: broker.port,
        protocolVersion: version,
        clientId: 'sender',
      })
      const publisher = limitPublishes(sender.client, { rate: 'unlimited' })
      const ends = await Promise.all(
        Array.from({ length: 500 }, (_, index) => publisher.publish('out/a', String(index), { qos })),
      )
      expect(ends.filter(({ outcome }) => outcome === 'sent')).toHaveLength(500)
      const seen = await watcher.received(500)
      expect(seen.map(({ text }) => Number(text))).toEqual(Array.from({ length: 500 }, (_, index) => index))
      expect(publisher.stats()).toMatchObject({ sent: 500, failed: 0, refused: 0, underWayPeak: 20 })
      publisher.close()
    },
  )

  it('slows down when the broker answers 0x97, and sends again what it refused', async () => {
    await using broker = await startMosquitto({ config: RECEIVE_MAXIMUM })
    await using watcher = await connectClient({ port: broker.port, clientId: 'watcher' })
    await watcher.subscribe('out/#', 1)
    await using sender = await connectClient({ port: broker.port, protocolVersion: 5, clientId: 'sender' })
    const publisher = limitPublishes(sender.client, { rate: 'unlimited' }, { retries: 20 })
    // What goes past the publisher uses up the broker's quota: some of both is refused.
    const past = Array.from({ length: 60 }, () =>
      sender.client.publishAsync('past', 'x', { qos: 2 }).catch((error: { code?: number }) => error.code),
    )
    const ends = await Promise.all(
      Array.from({ length: 100 }, (_, index) => publisher.publish('out/a', String(index), { qos: 2 })),
    )
    expect(await Promise.all(past)).toContain(0x97)
    expect(ends.filter(({ outcome }) => outcome === 'sent')).toHaveLength(100)
    expect(publisher.stats().slowDowns).toBeGreaterThan(0)
    const seen = await watcher.received(100)
    expect(new Set(seen.map(({ text }) => text)).size).toBe(100)
    expect(seen).toHaveLength(100)
    publisher.close()
  })

  it('keeps QoS 0 within its window and sends all of it', async () => {
    await using broker = await startMosquitto()
    await using watcher = await connectClient({ port: broker.port, clientId: 'watcher' })
    await watcher.subscribe('out/#')
    await using sender = await connectClient({ port: broker.port, clientId: 'sender' })
    const publisher = limitPublishes(sender.client, { rate: 'unlimited' })
    const payload = Buffer.alloc(100, 'x')
    for (let index = 0; index < 2_000; index++) void publisher.publish(`out/${index % 10}`, payload)
    expect(await publisher.flush(60_000)).toBe(true)
    expect(publisher.stats()).toMatchObject({ sent: 2_000, underWayPeak: 64 })
    await watcher.received(2_000)
    publisher.close()
  })

  it('takes an empty payload and one of 1 MB', async () => {
    await using broker = await startMosquitto()
    await using watcher = await connectClient({ port: broker.port, clientId: 'watcher' })
    await watcher.subscribe('out/#', 1)
    await using sender = await connectClient({ port: broker.port, clientId: 'sender' })
    const publisher = limitPublishes(sender.client, { rate: '10/s burst 10' })
    const large = Buffer.alloc(1_048_576, 'y')
    await publisher.publish('out/a', '', { qos: 1 })
    await publisher.publish('out/a', large, { qos: 1 })
    const seen = await watcher.received(2)
    expect(seen.map(({ packet }) => packet.payload.length)).toEqual([0, 1_048_576])
    publisher.close()
  })

  it('holds its rate', async () => {
    await using broker = await startMosquitto()
    await using sender = await connectClient({ port: broker.port, clientId: 'sender' })
    const publisher = limitPublishes(sender.client, { rate: '100/s burst 10' })
    const sinceMs = performance.now()
    for (let index = 0; index < 110; index++) void publisher.publish('out/a', 'x', { qos: 1 })
    expect(await publisher.flush(60_000)).toBe(true)
    const tookMs = performance.now() - sinceMs
    expect(tookMs).toBeGreaterThanOrEqual(999)
    publisher.close()
  })

  it.each([1, 2] as const)(
    'QoS %d: loses nothing over connections that are reset, and doubles nothing it may not',
    async qos => {
      await using broker = await startMosquitto({ config: RECEIVE_MAXIMUM })
      await using proxy = await FaultProxy.start(broker.port)
      await using watcher = await connectClient({ port: broker.port, clientId: 'watcher' })
      await watcher.subscribe('out/#', qos)
      const client = open(proxy.port)
      const publisher = limitPublishes(
        client,
        { rate: '500/s burst 1' },
        { backOff: { fromMs: 50, toMs: 200, seed: 7 } },
      )
      const ends = Promise.all(
        Array.from({ length: 600 }, (_, index) => publisher.publish('out/a', String(index), { qos })),
      )
      for (const count of [100, 250, 400]) {
        await until(() => watcher.messages.length >= count)
        proxy.fault = 'reset'
        await until(() => !client.connected)
        proxy.fault = 'none'
      }
      expect((await ends).filter(({ outcome }) => outcome === 'sent')).toHaveLength(600)
      await until(() => countOf(watcher.messages.map(({ text }) => text)).distinct === 600)
      const { all } = countOf(watcher.messages.map(({ text }) => text))
      if (qos === 2) expect(all).toBe(600)
      // At QoS 1 what was under way may come twice: at most the window, for each of three connections that went.
      else expect(all).toBeLessThanOrEqual(660)
      publisher.close()
      await client.endAsync(true)
    },
  )

  it('survives the end of its broker: what was told as sent has arrived, once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-persistence-'))
    const config = [...RECEIVE_MAXIMUM, 'user root', 'persistence true', `persistence_location ${folder}/`]
    let broker = await startMosquitto({ config })
    const { port } = broker
    try {
      const watcher = open(port, { clientId: 'watcher', protocolVersion: 4, properties: undefined })
      const seen: string[] = []
      watcher.on('message', (_topic, payload) => seen.push(payload.toString()))
      await watcher.subscribeAsync('out/#', { qos: 2 })
      const client = open(port)
      const publisher = limitPublishes(
        client,
        { rate: '400/s burst 1' },
        { backOff: { fromMs: 50, toMs: 200, seed: 1 } },
      )
      const ends = Promise.all(
        Array.from({ length: 400 }, (_, index) => publisher.publish('out/a', String(index), { qos: 2 })),
      )
      await until(() => seen.length >= 100)
      // It writes down its sessions when it is told to end.
      await broker.stop('SIGTERM')
      await until(() => !client.connected)
      expect(publisher.stats().waiting).toBeGreaterThan(100)
      broker = await startMosquitto({ config, port })
      expect((await ends).filter(({ outcome }) => outcome === 'sent')).toHaveLength(400)
      await until(() => seen.length >= 400, {
        what: () =>
          `400 messages; there are ${seen.length}, ${new Set(seen).size} distinct, ${JSON.stringify(publisher.stats())}`,
      })
      expect(countOf(seen)).toEqual({ all: 400, distinct: 400 })
      publisher.close()
      await Promise.all([client.endAsync(true), watcher.endAsync(true)])
    } finally {
      await broker.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('after a broker was killed sends all that waited, and at QoS 0 keeps no more than its bound', async () => {
    let broker = await startMosquitto()
    const { port } = broker
    try {
      const client = open(port, { clean: true, properties: undefined })
      await until(() => client.connected)
      const publisher = limitPublishes(
        client,
        { rate: 'unlimited' },
        {
          ...{ maxMessages: 100, overflow: 'oldest', backOff: { fromMs: 50, toMs: 100, seed: 3 } },
        },
      )
      await broker.stop('SIGKILL')
      await until(() => !client.connected)
      const ends = Array.from({ length: 1_000 }, (_, index) => publisher.publish('out/a', String(index)))
      expect(publisher.stats()).toMatchObject({ waiting: 100, waitingPeak: 100, dropped: 900 })
      // The client's own queue, which would go out past every limit, has nothing.
      expect(client.queue).toHaveLength(0)
      broker = await startMosquitto({ port })
      const told = await Promise.all(ends)
      expect(told.filter(({ outcome }) => outcome === 'sent')).toHaveLength(100)
      expect(told.slice(0, 900).every(({ why }) => why === 'overflow')).toBe(true)
      publisher.close()
      expect(client.options.reconnectPeriod).toBe(100)
      await client.endAsync(true)
    } finally {
      await broker.stop()
    }
  })
})
