import * as v3js from '@nats-io/jetstream'
import type * as v3 from '@nats-io/transport-node'
import * as v2 from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JetStreamConsumer, JetStreamMessage } from '../../../brokers/nats/index.ts'
import type { IterableSource } from '../../../brokers/nats/limited-message-iterator.ts'
import { limit, UnsupportedError } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, numbers, Scene, textOf } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** Longer than a busy machine takes to extend it, and shorter than the last message is held. */
const ACK_WAIT_MS = 2_000
const COUNT = 13
const [two, three] = GENERATIONS
const gate = () => natsGate(limit({ name: 'a', rate: '5/s burst 1', per: 'topic', exceeded: 'throttle' }))

describe('push consumers', () => {
  it('of @nats-io 3 are consumed by a handler, held and acknowledged', async () => {
    await using scene = await Scene.open(three!, server)
    const limits = scene.limit(gate())
    const connection = scene.nc as unknown as v3.NatsConnection
    const manager = await v3js.jetstreamManager(connection)
    await scene.js.addStream('push3', ['push3.>'])
    await manager.consumers.add('push3', {
      durable_name: 'c',
      deliver_subject: 'deliver.push3',
      ack_policy: v3js.AckPolicy.Explicit,
      ack_wait: ACK_WAIT_MS * 1_000_000,
    })
    await scene.store('push3.a', COUNT)
    const consumer = await v3js.jetstream(connection).consumers.getPushConsumer('push3', 'c')
    const seen: string[] = []
    await limits.consume(consumer as unknown as JetStreamConsumer, message => void seen.push(textOf(message)))
    await until(() => seen.length === COUNT)
    await until(async () => (await scene.js.state('push3', 'c')).num_ack_pending === 0)
    expect(seen).toEqual(numbers(COUNT))
    expect((await scene.js.state('push3', 'c')).delivered.consumer_seq).toBe(COUNT)
  })

  it('of nats 2 are iterated, and asked what they are', async () => {
    await using scene = await Scene.open(two!, server)
    const limits = scene.limit(gate())
    const js = (scene.nc as unknown as v2.NatsConnection).jetstream()
    await scene.js.addStream('push2', ['push2.>'])
    await scene.store('push2.a', COUNT)
    const subscribe = async (name: string, ack: (options: v2.ConsumerOptsBuilder) => unknown) => {
      const options = v2.consumerOpts().durable(name).deliverTo(`deliver.${name}`).manualAck()
      ack(options)
      return (await js.subscribe('push2.>', options)) as unknown as IterableSource<JetStreamMessage>
    }
    const source = await subscribe('c', options => options.ackExplicit().ackWait(ACK_WAIT_MS))
    const seen: string[] = []
    for await (const message of limits.iterate(source)) {
      seen.push(textOf(message))
      message.ack()
      if (seen.length === COUNT) break
    }
    await scene.nc.flush()
    await until(async () => (await scene.js.state('push2', 'c')).num_ack_pending === 0)
    expect(seen).toEqual(numbers(COUNT))
    expect((await scene.js.state('push2', 'c')).delivered.consumer_seq).toBe(COUNT)

    const all = limits.iterate(await subscribe('all', options => options.ackAll()))
    await expect(all.next()).rejects.toThrow(UnsupportedError)
  })
})
