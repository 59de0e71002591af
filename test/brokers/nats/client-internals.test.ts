import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  findMissingClientInternals,
  headerBlockOf,
  RedeliveryDetector,
  subjectBytesOf,
  unwrapCoreMessage,
} from '../../../brokers/nats/client-internals.ts'
import type { JetStreamMessage, NatsMessage } from '../../../brokers/nats/index.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { CLIENTS } from './public-api.ts'
import { natsGate, numbers, Scene, textOf } from './scene.ts'

let server: NatsServer
let made = 0
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** A logger that keeps what is warned of. */
function loggerOf(lines: string[]) {
  const ignore = (): void => {}
  const warn = (_fields: object, text?: string): void => void lines.push(text ?? '')
  return { debug: ignore, info: ignore, warn, error: ignore }
}

/** Pins the fields that are used and not public: a version that keeps them elsewhere shows here first. */
describe.each(GENERATIONS)('fields of $name that are not public', generation => {
  it('are where they are looked for, in messages of core NATS', async () => {
    await using scene = await Scene.open(generation, server)
    const got: NatsMessage[] = []
    scene.nc.subscribe('inside.core', { callback: (_error, message) => void got.push(message) })
    await scene.nc.flush()
    const headers = generation.headers()
    headers.append('a', 'b')
    scene.sender.publish('inside.core', Buffer.from('payload'), { headers, reply: 'answer' })
    scene.sender.publish('inside.core')
    await until(() => got.length === 2)
    expect(got.map(findMissingClientInternals)).toEqual([[], []])
    const internals = unwrapCoreMessage(got[0]!)
    expect(Buffer.from(subjectBytesOf(internals) as Uint8Array).toString()).toBe('inside.core')
    expect(Buffer.from(internals._msg?.reply as Uint8Array).toString()).toBe('answer')
    expect(Buffer.from(headerBlockOf(got[0]!)!).toString()).toBe('NATS/1.0\r\na: b\r\n\r\n')
    expect(internals.publisher?.transport?.version).toMatch(/^\d+\.\d+\.\d+/)
  })

  it('are where they are looked for, in messages of JetStream', async () => {
    await using scene = await Scene.open(generation, server)
    const name = `inside${++made}`
    await scene.js.addStream(name, [name])
    const consumer = await scene.js.addConsumer(name, 'c')
    await scene.store(name, 1)
    const got: JetStreamMessage[] = []
    const messages = await consumer.consume({ callback: message => void got.push(message) })
    await until(() => got.length === 1)
    expect(findMissingClientInternals(got[0]!)).toEqual([])
    expect(unwrapCoreMessage(got[0]!).publisher).toMatchObject({ connected: true })
    expect((got[0] as { didAck?: unknown }).didAck).toBe(false)
    await messages.close()
  })
})

describe.each(CLIENTS)('a limiter that uses $name', generation => {
  const isPublic = generation.name.startsWith('only')

  it('takes messages of core NATS, and warns once of fields it misses', async () => {
    await using scene = await Scene.open(generation, server)
    const subject = `core${++made}`
    const lines: string[] = []
    const rule = limit({ name: 'a', rate: '1/h burst 3', per: 'topic', exceeded: 'drop' })
    const limits = scene.limit(natsGate(rule), { logger: loggerOf(lines) })
    const seen: string[] = []
    limits.subscribe(scene.nc, `${subject}.>`, { callback: message => void seen.push(textOf(message)) })
    limits.subscribe(scene.nc, 'other', { callback: message => void seen.push(textOf(message)) })
    await scene.nc.flush()
    await scene.publish(`${subject}.a`, 5)
    await scene.publish('other', 1)
    await until(() => limits.stats().received === 6)
    expect(seen.sort()).toEqual(['0', '0', '1', '2'])
    expect(limits.stats()).toMatchObject({ delivered: 4, dropped: 2, handlerErrors: 0 })
    expect(lines).toEqual(isPublic ? [expect.stringContaining('its public API is used instead')] : [])
  })

  it('acknowledges, holds and counts redeliveries of JetStream', async () => {
    await using scene = await Scene.open(generation, server)
    const name = `js${++made}`
    await scene.js.addStream(name, [`${name}.>`])
    await scene.store(`${name}.a`, 12)
    const consumer = await scene.js.addConsumer(name, 'c')
    const lines: string[] = []
    const rule = limit({ name: 'a', rate: '50/s burst 5', per: 'topic', exceeded: 'throttle' })
    const limits = scene.limit(natsGate(rule), { logger: loggerOf(lines), errorDelayMs: 10 })
    const seen: string[] = []
    const failed = new Set<string>()
    await limits.consume(consumer, message => {
      const text = textOf(message)
      // Each third one fails once, and is delivered twice.
      if (Number(text) % 3 === 0 && failed.size < 4 && !failed.has(text)) {
        failed.add(text)
        throw new Error('not yet')
      }
      seen.push(text)
    })
    await until(async () => {
      const { num_ack_pending, num_pending } = await scene.js.state(name, 'c')
      return num_ack_pending + num_pending === 0
    })
    expect(seen.map(Number).sort((a, b) => a - b)).toEqual(numbers(12).map(Number))
    expect(limits.stats()).toMatchObject({ received: 16, redelivered: 4, handlerErrors: 4 })
    expect((await scene.js.state(name, 'c')).delivered.consumer_seq).toBe(16)
    expect(lines).toEqual(isPublic ? [expect.stringContaining('didAck')] : [])
  })

  it('counts redeliveries of consumers it knows nothing of', async () => {
    await using scene = await Scene.open(generation, server)
    const name = `wrap${++made}`
    await scene.js.addStream(name, [name])
    await scene.store(name, 3)
    const limits = scene.limit(natsGate(), { errorDelayMs: 10 })
    const calls = new Map<string, number>()
    const take = limits.wrap<JetStreamMessage>(message => {
      const key = `${message.info.consumer} ${textOf(message)}`
      calls.set(key, (calls.get(key) ?? 0) + 1)
      if (calls.get(key) === 1 && textOf(message) === '1') throw new Error('not yet')
    })
    const consumers = ['c', 'longer-name']
    const all = await Promise.all(
      consumers.map(async each => (await scene.js.addConsumer(name, each)).consume({ callback: take })),
    )
    await until(() => [...calls.values()].reduce((sum, count) => sum + count, 0) === 8)
    await until(async () => {
      const states = await Promise.all(consumers.map(each => scene.js.state(name, each)))
      return states.every(({ num_ack_pending }) => num_ack_pending === 0)
    })
    expect(limits.stats()).toMatchObject({ received: 8, redelivered: 2 })
    for (const messages of all) await messages.close()
  })
})

describe('redeliveries', () => {
  const messageOf = (reply: string): JetStreamMessage =>
    ({ msg: { _msg: { reply: new TextEncoder().encode(reply) } } }) as unknown as JetStreamMessage

  it.each([
    ['nine tokens', (count: number) => `$JS.ACK.stream.1.${count}.1.1.1.0`],
    ['twelve tokens', (count: number) => `$JS.ACK.hub.hash.stream.1.${count}.1.1.1.0.token`],
  ])('are recognised in a reply subject of %s', (_name, replyOf) => {
    for (const isOneConsumer of [true, false]) {
      const reader = new RedeliveryDetector(isOneConsumer)
      const found = [1, 1, 2, 1, 10, 11, 1].map(count => reader.isRedelivered(messageOf(replyOf(count))))
      expect(found).toEqual([false, false, true, false, true, true, false])
    }
  })

  it('are not seen where a client tells nothing of them', () => {
    const reader = new RedeliveryDetector(true)
    for (const reply of ['', 'a.b', '1.', '$JS.ACK.a.b.2'])
      expect(reader.isRedelivered(messageOf(reply))).toBe(false)
  })
})
