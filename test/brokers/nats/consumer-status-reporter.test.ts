import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

const all = limit({ name: 'all', rate: '1000/s', per: 'global', exceeded: 'throttle' })
const each = limit({ name: 'each', rate: '1000/s', per: 'topic', exceeded: 'throttle' })

describe.each(GENERATIONS)('a consumer of $name', generation => {
  it.each([
    ['consume', each],
    ['pulls', all],
  ] as const)('that is deleted is reported, counted, and comes back: %s', async (how, rule) => {
    await using scene = await Scene.open(generation, server)
    const stream = `gone-${how}-${generation.name.at(-1)}`
    await scene.js.addStream(stream, [stream])
    const consumer = await scene.js.addConsumer(stream, 'c')
    const lines: string[] = []
    const statuses: string[] = []
    const limits = scene.limit(natsGate(rule), {
      logger: {
        debug: () => {},
        info: (_fields: object, text?: string) => void lines.push(`info ${text}`),
        warn: (_fields: object, text?: string) => void lines.push(`warn ${text}`),
        error: () => {},
      },
    })
    let handled = 0
    const intake = await limits.consume(consumer, () => void handled++, {
      expires: 1_000,
      onStatus: ({ type }) => void statuses.push(type),
    })
    await scene.store(stream, 1)
    await until(() => handled === 1)
    expect(intake.problem).toBeUndefined()
    await scene.js.deleteConsumer(stream, 'c')
    await until(() => intake.problem !== undefined)
    expect(limits.stats()).toMatchObject({ consumersDown: 1, consumerProblems: expect.any(Number) })
    expect(limits.stats().consumerProblems).toBeGreaterThan(0)
    expect(lines[0]).toMatch(new RegExp(`^warn consumer c of stream ${stream}: `))
    expect(statuses).toContainEqual(
      expect.stringMatching(/^(consumer_deleted|consumer_not_found|no_responders)$/),
    )
    await scene.js.addConsumer(stream, 'c')
    await until(() => handled >= 2)
    expect(intake.problem).toBeUndefined()
    expect(lines.at(-1)).toBe(`info consumer c of stream ${stream}: delivers messages again`)
    expect(limits.stats().consumersDown).toBe(0)
    await intake.stop()
    expect(await intake.closed()).toBeUndefined()
  })

  it.each([
    ['consume', each],
    ['pulls', all],
  ] as const)('that is deleted ends where that is asked for: %s', async (how, rule) => {
    await using scene = await Scene.open(generation, server)
    const stream = `ends-${how}-${generation.name.at(-1)}`
    await scene.js.addStream(stream, [stream])
    const limits = scene.limit(natsGate(rule))
    const intake = await limits.consume(await scene.js.addConsumer(stream, 'c'), () => {}, {
      expires: 1_000,
      abort_on_missing_resource: true,
    })
    await scene.js.deleteConsumer(stream, 'c')
    expect(await intake.closed()).toBeInstanceOf(Error)
  })
})
