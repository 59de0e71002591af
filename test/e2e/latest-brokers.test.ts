import { describe, expect, it } from 'vitest'
import { limitConsumer } from '../../brokers/mqtt/index.ts'
import { limitNats } from '../../brokers/nats/index.ts'
import { Gate, limit } from '../../src/index.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { GENERATIONS, type Generation } from '../brokers/nats/client-versions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'

const TOPICS = 100
const UPDATES = 100
/** Updates that are under way at once, where they are acknowledged. */
const AT_ONCE = 200
const PERIOD_MS = 60_000
const RULE = { name: 'state', rate: '1/min', per: 'topic', exceeded: 'latest' } as const

/** A broker, a limiter and a receiver. */
interface Way {
  send(topic: string, text: string): unknown
  stats(): { readonly superseded: number; readonly held: number; readonly overflowed: number }
  close(): Promise<void>
  /** What the broker still keeps for the receiver. */
  left?(): Promise<number>
}
type Open = (seen: (topic: string, text: string) => void, clock: FakeClock) => Promise<Way>

const byAedes =
  (qos: 0 | 1): Open =>
  async (seen, clock) => {
    const running = await startBroker({ gate: new Gate({ clock }).use(limit(RULE)) })
    const receiver = await running.connect()
    receiver.on('message', (topic, payload) => seen(topic, payload.toString()))
    await receiver.subscribeAsync('in/#', { qos })
    const sender = await running.connect()
    return {
      // Of QoS 1 the acknowledgement comes when the update has passed, or a newer one has taken its place.
      send: (topic, text) => {
        const sent = sender.publishAsync(topic, text, { qos }).catch(() => {})
        return qos === 0 ? sent : undefined
      },
      stats: () => running.limits.stats(),
      close: () => running.close(),
    }
  }

const byConsumer: Open = async (seen, clock) => {
  const broker = await startMosquitto({ config: ['max_queued_messages 20000'] })
  const [receiver, sender] = [
    await connectClient({ port: broker.port }),
    await connectClient({ port: broker.port }),
  ]
  const gate = new Gate({ clock }).use(limit(RULE))
  const limits = limitConsumer(receiver.client, gate, {
    handler: (topic, payload) => seen(topic, payload.toString()),
  })
  await receiver.subscribe('in/#', 1)
  return {
    send: (topic, text) => sender.publish(topic, text, { qos: 1 }),
    stats: () => limits.stats(),
    close: async () => {
      limits.close()
      await Promise.all([receiver.close(), sender.close()])
      await Promise.all([gate.close(), broker.stop()])
    },
  }
}

const byNats =
  (generation: Generation, jetstream: boolean): Open =>
  async (seen, clock) => {
    const server = await startNats({ jetstream })
    const [nc, sender] = [await generation.connect(server.url), await generation.connect(server.url)]
    const gate = new Gate({ dialect: 'nats', clock }).use(limit(RULE))
    const limits = limitNats(gate, { headers: generation.headers, connection: nc })
    const handle = ({ subject, data }: { readonly subject: string; readonly data: Uint8Array }): void =>
      seen(subject.replace('.', '/'), Buffer.from(data).toString())
    const close = async (): Promise<void> => {
      await limits.close()
      await Promise.all([nc.close(), sender.close()])
      await Promise.all([gate.close(), server.stop()])
    }
    const stats = (): ReturnType<typeof limits.stats> => limits.stats()
    if (!jetstream) {
      limits.subscribe(nc, 'in.*', { callback: handle })
      await nc.flush()
      return {
        send: (topic, text) => sender.publish(topic.replace('/', '.'), Buffer.from(text)),
        stats,
        close,
      }
    }
    const js = await generation.jetstream(sender)
    await js.addStream('s', ['in.*'])
    await limits.consume(await js.addConsumer('s', 'c'), handle)
    return {
      send: (topic, text) => js.publish(topic.replace('/', '.'), text),
      stats,
      close,
      left: async () => {
        const { num_ack_pending, num_pending } = await js.state('s', 'c')
        return num_ack_pending + num_pending
      },
    }
  }

describe('of 10,000 updates on 100 topics', () => {
  it.each([
    ['aedes, QoS 0', byAedes(0)],
    ['aedes, QoS 1', byAedes(1)],
    ['an MQTT.js consumer', byConsumer],
    ...GENERATIONS.flatMap(each => [
      [`core ${each.name}`, byNats(each, false)] as const,
      [`JetStream of ${each.name}`, byNats(each, true)] as const,
    ]),
  ] as const)(
    '%s delivers the first of each at once and the last of each, and counts those between',
    async (_, open) => {
      const seen = new Map<string, number[]>()
      let count = 0
      const clock = new FakeClock()
      const way = await open((topic, text) => {
        const updates = seen.get(topic) ?? []
        seen.set(topic, [...updates, Number(text)])
        count++
      }, clock)
      const arrived = (): number => count + way.stats().superseded + way.stats().held
      const what = (): string => `all updates; ${count} were delivered, ${JSON.stringify(way.stats())}`
      try {
        let sending: unknown[] = []
        for (let update = 0; update < UPDATES; update++) {
          for (let topic = 0; topic < TOPICS; topic++) sending.push(way.send(`in/${topic}`, String(update)))
          if (sending.length < AT_ONCE) continue
          await Promise.all(sending)
          sending = []
        }
        await until(() => arrived() === TOPICS * UPDATES, { what })
        expect(way.stats().held).toBe(TOPICS)
        clock.advance(PERIOD_MS)
        await until(() => count === 2 * TOPICS, { what })
        expect(way.stats().overflowed).toBe(0)
        expect(way.stats().superseded).toBe(TOPICS * (UPDATES - 2))
        expect(seen.size).toBe(TOPICS)
        for (const updates of seen.values()) expect(updates).toEqual([0, UPDATES - 1])
        if (way.left !== undefined) await until(async () => (await way.left!()) === 0)
      } finally {
        await way.close()
      }
    },
  )
})
