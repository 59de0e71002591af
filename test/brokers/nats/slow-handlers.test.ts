import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { limitNats } from '../../../brokers/nats/index.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, Scene } from './scene.ts'

let server: NatsServer
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

describe.each(GENERATIONS)('slow handlers of $name', generation => {
  it.each([
    ['kept alive', { upTo: '1m' }, 1],
    ['kept alive for too short', { upTo: 1 }, 2],
    ['left alone', undefined, 2],
  ] as const)('get their message once only if it is kept alive: %s', async (_name, keepAlive, deliveries) => {
    await using scene = await Scene.open(generation, server)
    const stream = `slow${generation.name.at(-1)}${deliveries}${keepAlive?.upTo ?? ''}`
    await scene.js.addStream(stream, [stream])
    const consumer = await scene.js.addConsumer(stream, 'c', { ackWaitMs: 2_000 })
    const lines: string[] = []
    const limits = scene.limit(natsGate(), {
      logger: loggerOf(lines),
      ...(keepAlive !== undefined && { keepAlive }),
    })
    let calls = 0
    let isDone = false
    await limits.consume(consumer, async () => {
      // The first takes three times as long as the server waits.
      if (++calls === 1) {
        await new Promise(resolve => setTimeout(resolve, 6_000))
        isDone = true
      }
    })
    await scene.store(stream, 1)
    await until(() => isDone, { timeoutMs: 60_000 })
    await until(async () => (await scene.js.state(stream, 'c')).num_ack_pending === 0)
    if (deliveries === 1) expect(calls).toBe(1)
    else expect(calls).toBeGreaterThan(1)
    expect(lines.filter(line => line.includes('ack_wait'))).toHaveLength(keepAlive === undefined ? 1 : 0)
  })

  it('are warned of a consumer that cannot do what its rules ask for', async () => {
    await using scene = await Scene.open(generation, server)
    const stream = `full${generation.name.at(-1)}`
    await scene.js.addStream(stream, [stream])
    const lines: string[] = []
    const logger = loggerOf(lines)
    const once = await scene.js.addConsumer(stream, 'once', { max_deliver: 1 })
    const retries = scene.limit(natsGate(limit({ name: 'r', rate: '1/h', exceeded: 'retry' })), { logger })
    await retries.consume(once, () => {})
    expect(lines).toEqual([expect.stringContaining('max_deliver 1')])
    await retries.close()
    const small = await scene.js.addConsumer(stream, 'small', { max_ack_pending: 5 })
    const holds = scene.limit(
      natsGate(limit({ name: 't', rate: '1/h', per: 'topic', exceeded: 'throttle' })),
      {
        logger,
        maxHoldMs: 7_200_000,
      },
    )
    await holds.consume(small, () => {})
    await scene.store(stream, 10)
    await until(() => lines.length === 2)
    expect(lines[1]).toContain('max_ack_pending of 5')
  })

  it.each(['soon', 0, -1, Number.NaN])('are not kept alive for %s', upTo => {
    expect(() => limitNats(natsGate(), { keepAlive: { upTo } })).toThrow('keepAlive.upTo')
  })
})
