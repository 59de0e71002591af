import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstream as jetstream3, jetstreamManager as manager3 } from '@nats-io/jetstream'
import { connect as connect3 } from '@nats-io/transport-node'
import { connect as connect2 } from 'nats'
import { describe, expect, it } from 'vitest'
import { limitPublishes, type NatsPublisherOptions } from '../../brokers/nats/limit-publishes.ts'
import type { PublishingConnection, PublishingJetStream } from '../../brokers/nats/publish-transport.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'

interface Opened extends AsyncDisposable {
  readonly connection: PublishingConnection
  readonly jetstream: PublishingJetStream
  /** What a plain subscriber has seen. */
  readonly seen: string[]
  subscribe(subject: string): Promise<void>
  addStream(config: object): Promise<void>
  /** Messages a stream holds. */
  count(): Promise<number>
}

const RECONNECT = { reconnectTimeWait: 50, reconnectJitter: 50, maxReconnectAttempts: -1 }

const OPEN: Readonly<Record<string, (server: NatsServer) => Promise<Opened>>> = {
  'nats 2': async server => {
    const connection = await connect2({ servers: server.url, ...RECONNECT })
    const seen: string[] = []
    return {
      ...{ connection, jetstream: connection.jetstream(), seen },
      subscribe: async subject => {
        connection.subscribe(subject, { callback: (_error, message) => void seen.push(message.string()) })
        await connection.flush()
      },
      addStream: async config => {
        const manager = await connection.jetstreamManager()
        await manager.streams.add({ name: 'S', subjects: ['out.>'], ...config } as never)
      },
      count: async () => (await (await connection.jetstreamManager()).streams.info('S')).state.messages,
      [Symbol.asyncDispose]: () => connection.close(),
    }
  },
  'nats 3': async server => {
    const connection = await connect3({ servers: server.url, ...RECONNECT })
    const seen: string[] = []
    return {
      ...{ connection, jetstream: jetstream3(connection), seen },
      subscribe: async subject => {
        connection.subscribe(subject, { callback: (_error, message) => void seen.push(message.string()) })
        await connection.flush()
      },
      addStream: async config => {
        const manager = await manager3(connection)
        await manager.streams.add({ name: 'S', subjects: ['out.>'], ...config } as never)
      },
      count: async () => (await (await manager3(connection)).streams.info('S')).state.messages,
      [Symbol.asyncDispose]: () => connection.close(),
    }
  },
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))

describe.each(Object.entries(OPEN))('a limited publisher of %s', (_name, open) => {
  const begin = (opened: Opened, rate: string, options: NatsPublisherOptions = {}) =>
    limitPublishes(opened.connection, { rate }, options)

  it('publishes 2,000 at once over core NATS within its window, in order, each once', async () => {
    await using server = await startNats()
    await using opened = await open(server)
    await opened.subscribe('out.a')
    const publisher = begin(opened, 'unlimited', { window: 100 })
    const ends = await Promise.all(numbers(2_000).map(text => publisher.publish('out.a', text)))
    expect(ends.every(({ outcome }) => outcome === 'sent')).toBe(true)
    await until(() => opened.seen.length === 2_000)
    expect(opened.seen).toEqual(numbers(2_000))
    expect(publisher.stats()).toMatchObject({ sent: 2_000, underWayPeak: 100 })
    publisher.close()
  })

  it('holds its rate', async () => {
    await using server = await startNats()
    await using opened = await open(server)
    const publisher = begin(opened, '100/s burst 10')
    const sinceMs = performance.now()
    for (const text of numbers(60)) void publisher.publish('out.a', text)
    expect(await publisher.flush(10_000)).toBe(true)
    expect(performance.now() - sinceMs).toBeGreaterThanOrEqual(499)
    publisher.close()
  })

  it('over JetStream tells of what is stored, no more under way than its window', async () => {
    await using server = await startNats({ jetstream: true })
    await using opened = await open(server)
    await opened.addStream({})
    const publisher = begin(opened, 'unlimited', { jetstream: opened.jetstream })
    const ends = await Promise.all(numbers(500).map(text => publisher.publish('out.a', text)))
    expect(ends.filter(({ outcome }) => outcome === 'sent')).toHaveLength(500)
    expect(await opened.count()).toBe(500)
    expect(publisher.stats().underWayPeak).toBe(64)
    publisher.close()
  })

  it('sends again what a full stream refuses, and tells when it was in vain', async () => {
    await using server = await startNats({ jetstream: true })
    await using opened = await open(server)
    await opened.addStream({ max_msgs: 10, discard: 'new' })
    const publisher = begin(opened, 'unlimited', { jetstream: opened.jetstream, retries: 1 })
    const ends = await Promise.all(numbers(12).map(text => publisher.publish('out.a', text)))
    expect(ends.filter(({ outcome }) => outcome === 'sent')).toHaveLength(10)
    expect(ends.filter(({ outcome, attempts }) => outcome === 'refused' && attempts === 2)).toHaveLength(2)
    expect(await opened.count()).toBe(10)
    expect(publisher.stats().slowDowns).toBe(4)
    publisher.close()
  })

  it('waits while the server is gone, and has every message stored once when it is back', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-store-'))
    let server = await startNats({ jetstream: true, args: ['--store_dir', folder] })
    const { port } = server
    try {
      const opened = await open(server)
      await opened.addStream({})
      const publisher = begin(opened, '400/s burst 1', { jetstream: opened.jetstream })
      const ends = Promise.all(numbers(400).map(text => publisher.publish('out.a', text, { msgID: text })))
      await until(() => publisher.stats().sent >= 100)
      await server.stop('SIGKILL')
      await new Promise(resolve => setTimeout(resolve, 200))
      const { sent, waiting } = publisher.stats()
      expect(waiting).toBeGreaterThan(100)
      server = await startNats({ jetstream: true, port, args: ['--store_dir', folder] })
      expect((await ends).filter(({ outcome }) => outcome === 'sent')).toHaveLength(400)
      // The outage says nothing of what the server can take.
      expect(publisher.stats()).toMatchObject({ slowDowns: 0, pacePerSecond: undefined })
      expect(await opened.count()).toBe(400)
      expect(sent).toBeLessThan(400)
      publisher.close()
      await opened[Symbol.asyncDispose]()
    } finally {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
