import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { NatsMessage } from '../../../brokers/nats/index.ts'
import { aimd, circuitBreaker, Gate, type HandlerResult, UnsupportedError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, Scene, textOf } from './scene.ts'

let server: NatsServer
let made = 0
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(GENERATIONS)('feedback of handlers behind $name', generation => {
  let scene: Scene
  beforeEach(async () => {
    scene = await Scene.open(generation, server)
  })
  afterEach(() => scene[Symbol.asyncDispose]())

  it('is told to the gate, with the time until what they return is settled', async () => {
    const clock = new FakeClock()
    const gate = new Gate({ dialect: 'nats', clock })
    const told: HandlerResult[] = []
    gate.handlerMonitor.on((_message, handled) => told.push(handled))
    let seen = 0
    scene.limit(gate).subscribe(scene.nc, 'a.>', {
      callback: async () => {
        const nth = ++seen
        if (nth === 2) throw new Error('mine')
        if (nth === 3) clock.advance(250)
      },
    })
    await scene.nc.flush()
    for (let n = 1; n <= 3; n++) {
      await scene.publish('a.b', 1)
      await until(() => told.length === n)
    }
    expect(told).toEqual([
      { durationMs: 0, ok: true },
      { durationMs: 0, ok: false },
      { durationMs: 250, ok: true },
    ])
  })

  it('opens a breaker for what fails, and for nothing else', async () => {
    const gate = await Gate.fromPolicy({
      dialect: 'nats',
      breaker: { topic: 'orders.{tenant}', per: 'tenant', least: 10, open: '1h', exceeded: 'drop' },
    })
    const limits = scene.limit(gate)
    const seen: string[] = []
    limits.subscribe(scene.nc, 'orders.>', {
      callback: ({ subject }) => {
        seen.push(subject)
        if (subject === 'orders.bad') throw new Error('down')
      },
    })
    await scene.nc.flush()
    await scene.publish('orders.bad', 30)
    await scene.publish('orders.good', 30)
    await until(() => limits.stats().received === 60)
    expect(seen.filter(subject => subject === 'orders.bad')).toHaveLength(11)
    expect(seen.filter(subject => subject === 'orders.good')).toHaveLength(30)
    expect(limits.stats()).toMatchObject({ dropped: 19, handlerErrors: 11 })
    await gate.close()
  })

  it('has JetStream bring back what a breaker sends back when the handler has recovered', async () => {
    const name = `b${++made}`
    await scene.js.addStream(name, [`${name}.>`])
    const gate = await Gate.fromPolicy({
      dialect: 'nats',
      breaker: { per: 'global', least: 1, open: '300ms', exceeded: 'retry' },
    })
    const limits = scene.limit(gate)
    const tried: number[] = []
    const handled: number[] = []
    await scene.store(`${name}.a`, 200)
    await limits.consume(await scene.js.addConsumer(name, 'c'), message => {
      tried.push(Number(textOf(message)))
      if (tried.length <= 3) throw new Error('down')
      handled.push(Number(textOf(message)))
    })
    await until(() => handled.length === 200)
    // Two failed before it opened, the third was its first try; the rest never met a handler that was down.
    expect(tried).toHaveLength(203)
    expect(new Set(handled).size).toBe(200)
    await gate.close()
  })

  it('is not told of who iterates, whose loop nobody can see into', async () => {
    const gate = natsGate()
    let told = 0
    gate.handlerMonitor.on(() => told++)
    const limits = scene.limit(gate)
    const subscription = scene.nc.subscribe('i.>') as unknown as AsyncIterable<NatsMessage>
    await scene.nc.flush()
    await scene.publish('i.a', 2)
    let seen = 0
    for await (const _message of limits.iterate(subscription)) if (++seen === 2) break
    expect([seen, told]).toEqual([2, 0])
  })

  it('cannot send back what core NATS delivers once only', () => {
    const gate = natsGate().use(circuitBreaker().guard, aimd({ exceeded: 'throttle' }).admit)
    const limits = scene.limit(gate)
    const subscribe = (): unknown => limits.subscribe(scene.nc, 'a.>', { callback: () => {} })
    expect(subscribe).toThrow(UnsupportedError)
    expect(subscribe).toThrow('cannot enact "retry", which "breaker" asks for: core NATS does not redeliver')
  })
})
