import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PublishingConnection } from '../../../brokers/nats/index.ts'
import { limitPublishes, type NatsHeaders } from '../../../brokers/nats/index.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { CLIENTS } from './public-api.ts'
import { natsGate, Scene, textOf } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(CLIENTS)('messages degraded by $name', generation => {
  const gateOf = () =>
    natsGate(
      limit({ name: 'a', rate: '1/min', exceeded: { degrade: { keep: ['value'], mark: 'x-degraded' } } }),
    )
  const FULL = '{"value":1,"more":2}'
  type Seen = [text: string, mark: readonly string[], kept: readonly string[]]
  const see = (message: { readonly data: Uint8Array; readonly headers?: NatsHeaders | undefined }): Seen => [
    textOf(message),
    message.headers?.values('x-degraded') ?? [],
    message.headers?.values('kept') ?? [],
  ]

  it('is marked for the handler of a JetStream consumer, and acknowledged', async () => {
    await using scene = await Scene.open(generation, server)
    const name = `m${generation.name.replace(/\W/g, '')}`
    await scene.js.addStream(name, [`${name}.>`])
    for (let count = 0; count < 3; count++) await scene.js.publish(`${name}.a`, FULL)
    const seen: Seen[] = []
    const consumer = await scene.js.addConsumer(name, 'c')
    await scene.limit(gateOf()).consume(consumer, message => void seen.push(see(message)))
    await until(async () => (await scene.js.state(name, 'c')).num_ack_pending === 0 && seen.length === 3)
    const cheap: Seen = ['{"value":1}', ['a'], []]
    expect(seen).toEqual([[FULL, [], []], cheap, cheap])
  })

  it('is marked where it is published, beside headers of its own that stay as they are', async () => {
    await using scene = await Scene.open(generation, server)
    const seen: Seen[] = []
    scene.nc.subscribe('p', { callback: (_error, message) => void seen.push(see(message)) })
    await scene.nc.flush()
    const { headers: make } = generation
    const connection = scene.sender as unknown as PublishingConnection
    const publisher = limitPublishes(connection, gateOf(), { headers: make })
    const headers = make()
    headers.append('kept', '1')
    for (let count = 0; count < 3; count++) await publisher.publish('p', FULL, { headers })
    await until(() => seen.length === 3)
    const cheap: Seen = ['{"value":1}', ['a'], ['1']]
    expect(seen).toEqual([[FULL, [], ['1']], cheap, cheap])
    expect(headers.keys()).toHaveLength(1)
    publisher.close()
  })
})
