import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from '../nats/client-versions.ts'
import { natsGate, numbers, textOf } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const FLOOD = 50_000
const QUIET_CLIENTS = 10
const QUIET_MESSAGES = 30
const JOBS = 200
const BURST = 100

describe.each(GENERATIONS)('beside a flood, clients of $name', generation => {
  it('lose nothing, and their consumers get each message once', async () => {
    const gate = natsGate(
      limit({ name: 'client', rate: `1/hour burst ${BURST}`, per: 'client', exceeded: 'drop' }),
    )
    await using scene = await startGateway({ gate, server: { jetstream: true } })
    const direct = await generation.connect(scene.server.url)
    const js = await generation.jetstream(direct)
    await js.addStream('jobs', ['jobs.>'])
    await js.addConsumer('jobs', 'worker', { ackWaitMs: 30_000 })
    await Promise.all(numbers(JOBS).map(number => js.publish('jobs.a', number)))
    const received = new Map<string, number>()
    direct.subscribe('data.>', {
      callback: (_, message) => received.set(message.subject, (received.get(message.subject) ?? 0) + 1),
    })
    await direct.flush()

    await using flooder = await RawClient.open(scene.port)
    await flooder.connect({ name: 'flooder' })
    flooder.send('PUB data.flood 10\r\n0123456789\r\n'.repeat(FLOOD))

    const worker = await generation.connect(scene.url, { name: 'worker' })
    const bound = await (await generation.jetstream(worker)).bindConsumer('jobs', 'worker')
    const handled: string[] = []
    const consume = async (): Promise<void> => {
      for await (const message of await bound.consume()) {
        message.ack()
        handled.push(textOf(message))
        if (handled.length === JOBS) return
      }
    }
    const publishQuietly = async (index: number): Promise<void> => {
      const nc = await generation.connect(scene.url, { name: `quiet ${index}` })
      for (let count = 0; count < QUIET_MESSAGES; count++) {
        nc.publish(`data.quiet.${index}`, Buffer.from('x'))
        await nc.flush()
      }
      expect(nc.isClosed()).toBe(false)
      await nc.close()
    }
    await Promise.all([
      consume(),
      ...Array.from({ length: QUIET_CLIENTS }, (_, index) => publishQuietly(index)),
    ])
    await flooder.flush()
    await direct.flush()
    await until(async () => (await js.state('jobs', 'worker')).num_ack_pending === 0)

    for (let index = 0; index < QUIET_CLIENTS; index++)
      expect(received.get(`data.quiet.${index}`)).toBe(QUIET_MESSAGES)
    expect(received.get('data.flood')).toBe(BURST)
    expect(new Set(handled).size).toBe(JOBS)
    expect((await js.state('jobs', 'worker')).delivered.consumer_seq).toBe(JOBS)
    expect(scene.gateway.stats()).toMatchObject({ dropped: FLOOD - BURST, malformed: 0, disconnected: 0 })
    await Promise.all([worker.close(), direct.close()])
  })
})
