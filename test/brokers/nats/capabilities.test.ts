import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { patternsOverlap } from '../../../brokers/nats/capabilities.ts'
import { limitNats, type NatsConnection } from '../../../brokers/nats/index.ts'
import { Gate, limit, PolicyError, UnsupportedError } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, Scene } from './scene.ts'

let server: NatsServer
let scene: Scene
beforeAll(async () => {
  server = await startNats({ jetstream: true })
  scene = await Scene.open(GENERATIONS[1]!, server)
})
afterAll(async () => {
  await scene[Symbol.asyncDispose]()
  await server.stop()
})

const gateOf = (exceeded: Parameters<typeof limit>[0]['exceeded'], pattern?: string): Gate => {
  const rule = limit({
    name: 'a',
    rate: '1/min',
    dialect: 'nats',
    ...(exceeded === undefined ? {} : { exceeded }),
  })
  const gate = natsGate()
  return pattern === undefined ? gate.use(rule) : gate.use(pattern, rule)
}
const callback = (): void => {}

/** What was wrong, and its class. */
function flawOf(attempt: () => unknown): string {
  try {
    attempt()
  } catch (error) {
    expect(error).toBeInstanceOf(UnsupportedError)
    return (error as Error).message
  }
  return 'nothing'
}

describe('a policy that asks for what NATS cannot do', () => {
  it('is refused when the limiter is made, where it asks to disconnect', () => {
    const wanted =
      'NATS cannot enact "disconnect", which "a" asks for: a consumer has no connection to the publisher, so it cannot disconnect it (use drop or reject)'
    expect(flawOf(() => limitNats(gateOf('disconnect')))).toBe(wanted)
    expect(flawOf(() => limitNats(gateOf({ throttle: { then: 'disconnect' } })))).toBe(wanted)
    expect(flawOf(() => limitNats(gateOf({ queue: { then: 'disconnect' } })))).toBe(wanted)
  })

  it('is refused where core NATS is to deliver again, unless its requesters can be told', () => {
    const limits = scene.limit(gateOf('retry', 'a.>'))
    expect(flawOf(() => limits.subscribe(scene.nc, 'a.b', { callback }))).toBe(
      'the subscription to a.b cannot enact "retry", which "a" asks for: core NATS does not redeliver (use throttle, queue or drop, or a JetStream consumer)',
    )
    expect(flawOf(() => limits.subscribe(scene.nc, 'b.>', { callback }))).toBe('nothing')
    expect(flawOf(() => limits.respond(scene.nc, 'a.b', callback))).toBe('nothing')
  })

  it('is refused where a queue group would lose what one member drops, unless that is meant', () => {
    for (const exceeded of ['drop', 'latest'] as const) {
      const limits = scene.limit(gateOf(exceeded))
      expect(flawOf(() => limits.subscribe(scene.nc, 'a', { queue: 'g', callback }))).toMatch(
        /cannot enact "(drop|latest)", which "a" asks for: a message that one member of a queue group discards/,
      )
      expect(flawOf(() => limits.subscribe(scene.nc, 'a', { queue: 'g', lossy: true, callback }))).toBe(
        'nothing',
      )
    }
  })

  it('is refused where a redirect has no connection', async () => {
    await scene.js.addStream('redirect', ['redirect.>'])
    const consumer = await scene.js.addConsumer('redirect', 'c')
    await expect(limitNats(gateOf('redirect')).consume(consumer, callback)).rejects.toThrow(
      'the consumer cannot enact "redirect", which "a" asks for: there is no connection to redirect with (give limitNats a `connection`)',
    )
  })

  it('is refused where a redirect has a topic of MQTT', () => {
    const gate = natsGate(limit({ name: 'a', rate: '1/min', exceeded: 'redirect' }))
    expect(flawOf(() => limitNats(gate))).toBe(
      `NATS cannot enact "redirect", which "a" asks for: its topic is an MQTT topic (write dialect: 'nats' in the rule)`,
    )
  })

  it.each([
    ['all', 'retry'],
    ['all', 'throttle'],
    ['none', 'retry'],
  ] as const)('is refused where ack policy %s cannot %s', async (ack_policy, exceeded) => {
    const stream = `${ack_policy}-${exceeded}`
    await scene.js.addStream(stream, [`${stream}.>`])
    const consumer = await scene.js.addConsumer(stream, 'c', { ack_policy })
    const attempt = scene.limit(gateOf(exceeded)).consume(consumer, callback)
    await expect(attempt).rejects.toThrow(UnsupportedError)
    await expect(attempt).rejects.toThrow(
      new RegExp(
        `^the consumer cannot enact "${exceeded}", which "a" asks for: with ack policy "${ack_policy}"`,
      ),
    )
  })

  it('is refused where an ordered consumer cannot send back', async () => {
    await scene.js.addStream('ordered', ['ordered.>'])
    const limits = scene.limit(gateOf('retry'))
    await expect(limits.consume(await scene.js.ordered('ordered'), callback)).rejects.toThrow(
      UnsupportedError,
    )
  })

  it('is logged when it is loaded later', async () => {
    const lines: string[] = []
    const note = (_fields: object, text = ''): void => void lines.push(text)
    const logger = { debug: note, info: note, warn: note, error: note }
    const gate = await Gate.fromPolicy('version: 1\ndialect: nats\nrules: [{ name: a, limit: 1/s }]')
    scene.limit(gate, { logger })
    await gate.apply('version: 1\ndialect: nats\nrules: [{ name: a, limit: 1/s, exceeded: disconnect }]')
    await gate.apply('version: 1\ndialect: nats\nrules: [{ name: b, limit: 1/s, exceeded: disconnect }]')
    expect(lines).toEqual([
      expect.stringMatching(/^NATS cannot enact "disconnect", which "a" asks for/),
      expect.stringMatching(/^NATS cannot enact "disconnect", which "b" asks for/),
    ])
    await gate.close()
  })

  it('and a gate or a subject of another dialect is refused as well', () => {
    expect(() => limitNats(new Gate())).toThrow(PolicyError)
    expect(() => limitNats(new Gate())).toThrow(
      "dialect: the gate uses mqtt patterns (write dialect: 'nats')",
    )
    const limits = scene.limit(natsGate())
    for (const subject of ['', 'a..b', 'a.>.b', 'a b']) {
      expect(() => limits.subscribe(scene.nc as NatsConnection, subject, { callback })).toThrow(PolicyError)
    }
    expect(() => limitNats(natsGate(), { maxDeliver: 0 })).toThrow('maxDeliver: 0 is not a number above 0')
    expect(() => limitNats(natsGate(), { deadLetter: 'dead.*', connection: scene.nc })).toThrow(PolicyError)
    expect(() => limitNats(natsGate(), { deadLetter: 'dead' })).toThrow(/^deadLetter: there is no connection/)
  })
})

describe('two patterns', () => {
  it.each([
    ['a.b', 'a.b', true],
    ['a.b', 'a.c', false],
    ['a.*', 'a.c', true],
    ['a.{x}', '*.b', true],
    ['a.>', 'a', false],
    ['a.>', 'a.b.c', true],
    ['>', 'a', true],
    ['a.b', 'a.b.c', false],
    ['a.*.c', 'a.b.>', true],
    ['a.*.c', 'a.b.*.d', false],
  ])('%s and %s may meet: %s', (pattern, filter, expected) => {
    expect(patternsOverlap(pattern, filter)).toBe(expected)
  })
})
