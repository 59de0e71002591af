import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from '../nats/client-versions.ts'
import { natsGate, numbers, textOf } from '../nats/scene.ts'
import { startGateway } from './harness.ts'

const HOURLY = '1/hour burst 3'

describe.each(GENERATIONS)('a client of $name', generation => {
  it('publishes, subscribes and requests through the gateway', async () => {
    await using scene = await startGateway()
    const [nc, direct] = await Promise.all([
      generation.connect(scene.url),
      generation.connect(scene.server.url),
    ])
    const received: string[] = []
    nc.subscribe('a.>', { callback: (_, message) => received.push(textOf(message)) })
    direct.subscribe('service', { callback: (_, message) => message.respond?.(`re ${textOf(message)}`) })
    await Promise.all([nc.flush(), direct.flush()])
    for (const number of numbers(100)) nc.publish('a.b', Buffer.from(number))
    await nc.flush()
    await until(() => received.length === 100)
    expect(received).toEqual(numbers(100))
    const answers = await Promise.all(
      numbers(20).map(async number => textOf(await nc.request('service', number, { timeout: 2_000 }))),
    )
    expect(answers).toEqual(numbers(20).map(number => `re ${number}`))
    await Promise.all([nc.close(), direct.close()])
  })

  it('gets error 429 for a refused request', async () => {
    const gate = natsGate(limit({ name: 'r', rate: HOURLY, exceeded: 'reject' }))
    await using scene = await startGateway({ gate })
    const nc = await generation.connect(scene.url)
    nc.subscribe('service', { callback: (_, message) => message.respond?.('done') })
    const replies = []
    for (let index = 0; index < 5; index++) replies.push(await nc.request('service', 'x', { timeout: 2_000 }))
    expect(replies.map(textOf).slice(0, 3)).toEqual(['done', 'done', 'done'])
    for (const refused of replies.slice(3)) {
      expect(refused.headers?.get('Nats-Service-Error-Code')).toBe('429')
      expect(refused.headers?.get('Retry-After')).toBe('3600')
      expect(JSON.parse(textOf(refused)).error.err_code).toBe(10_167)
    }
    expect(scene.gateway.stats().rejected).toBe(2)
    await nc.close()
  })

  it('gets an error for a refused JetStream publish', async () => {
    const gate = natsGate().use('jobs.>', limit({ name: 'r', rate: HOURLY, exceeded: 'reject' }))
    await using scene = await startGateway({ gate, server: { jetstream: true } })
    const nc = await generation.connect(scene.url)
    const js = await generation.jetstream(nc)
    await js.addStream('jobs', ['jobs.>'])
    for (const number of numbers(3)) await js.publish('jobs.a', number)
    await expect(js.publish('jobs.a', 'refused')).rejects.toMatchObject({ message: 'too many requests' })
    expect((await js.streamState('jobs')).messages).toBe(3)
    await nc.close()
  })
})
