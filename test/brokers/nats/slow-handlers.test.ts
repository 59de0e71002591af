import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { limitNats } from '../../../brokers/nats/index.ts'
import { Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, Scene, textOf } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** Returns a logger that records warnings. */
function loggerOf(lines: string[]) {
  const ignore = (): void => {}
  const warn = (_fields: object, text?: string): void => void lines.push(text ?? '')
  return { debug: ignore, info: ignore, warn, error: ignore }
}

describe.each(GENERATIONS)('slow handlers of $name', generation => {
  it.each([
    ['for as long as they run', '10m', 9],
    ['for as long as `keepAlive` says', 30_000, 1],
  ] as const)('keep their message alive %s', async (_name, upTo, count) => {
    await using scene = await Scene.open(generation, server)
    const clock = new FakeClock()
    const stream = `alive${generation.name.at(-1)}${count}`
    await scene.js.addStream(stream, [stream])
    const consumer = await scene.js.addConsumer(stream, 'c', { ackWaitMs: 60_000 })
    const answers: string[] = []
    scene.sender.subscribe(`$JS.ACK.${stream}.>`, {
      callback: (_error, message) => void answers.push(textOf(message)),
    })
    await scene.sender.flush()
    const lines: string[] = []
    const limits = scene.limit(new Gate({ dialect: 'nats', clock }), {
      logger: loggerOf(lines),
      keepAlive: { upTo },
    })
    let calls = 0
    let end = (): void => {}
    await limits.consume(consumer, () => {
      calls++
      return new Promise<void>(resolve => {
        end = resolve
      })
    })
    await scene.store(stream, 1)
    await until(() => calls === 1)
    // Three minutes are three times as long as the server waits.
    clock.advance(180_000)
    end()
    await until(() => answers.at(-1) === '+ACK')
    expect(answers).toEqual([...Array.from({ length: count }, () => '+WPI'), '+ACK'])
    expect(calls).toBe(1)
    expect(lines).toEqual([])
  })

  it('get their message again if they do not keep it alive, with a warning', async () => {
    await using scene = await Scene.open(generation, server)
    const ackWaitMs = 200
    const stream = `slow${generation.name.at(-1)}`
    await scene.js.addStream(stream, [stream])
    const consumer = await scene.js.addConsumer(stream, 'c', { ackWaitMs })
    const lines: string[] = []
    const limits = scene.limit(natsGate(), { logger: loggerOf(lines) })
    let calls = 0
    await limits.consume(consumer, async () => {
      if (++calls > 1) return
      await new Promise(resolve => setTimeout(resolve, 2 * ackWaitMs))
      await until(() => calls > 1)
    })
    await scene.store(stream, 1)
    await until(() => lines.length > 0)
    expect(calls).toBeGreaterThan(1)
    expect(lines.filter(line => line.includes('ack_wait'))).toHaveLength(1)
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
