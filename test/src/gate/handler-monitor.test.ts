import { afterEach, describe, expect, it } from 'vitest'
import { aimd, circuitBreaker } from '../../../src/adaptive/index.ts'
import { type Decision, Gate, type HandlerResult, limit, type Message } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const open: Gate[] = []
afterEach(async () => {
  for (const gate of open.splice(0)) await gate.close()
})

function message(topic = 'work/a'): Message {
  return { topic, on: 'publish', sender: { client: 'c' }, size: 1 }
}

class Scene {
  readonly clock = new FakeClock()
  readonly told: [string, HandlerResult][] = []
  readonly errors: object[] = []
  readonly gate: Gate

  constructor() {
    const ignore = (): void => {}
    const logger = {
      debug: ignore,
      info: ignore,
      warn: ignore,
      error: (context: object) => void this.errors.push(context),
    }
    this.gate = new Gate({ clock: this.clock, logger })
    open.push(this.gate)
  }

  listen(): () => void {
    return this.gate.handlerMonitor.on(({ topic }, handled) => void this.told.push([topic, handled]))
  }
}

describe('the handler monitor', () => {
  it('is used only while anything needs its results', () => {
    const { gate } = new Scene()
    expect(gate.handlerMonitor.isUsed).toBe(false)
    const end = gate.handlerMonitor.on(() => {})
    expect(gate.handlerMonitor.isUsed).toBe(true)
    end()
    expect(gate.handlerMonitor.isUsed).toBe(false)
    gate.use(limit({ name: 'all', rate: '1/s' }))
    expect(gate.handlerMonitor.isUsed).toBe(false)
    gate.use(circuitBreaker().guard)
    expect(gate.handlerMonitor.isUsed).toBe(true)
    expect(gate.handlerMonitor.names).toEqual(['breaker'])
  })

  it('measures until the returned promise is settled, by the clock of the gate', async () => {
    const scene = new Scene()
    scene.listen()
    const { handlerMonitor } = scene.gate
    expect(handlerMonitor.measure(message('sync'), () => 7)).toBe(7)
    const later = handlerMonitor.measure(message('later'), async () => {
      scene.clock.advance(40)
      await null
      scene.clock.advance(60)
      return 8
    })
    expect(scene.told).toHaveLength(1)
    expect(await later).toBe(8)
    await null
    expect(scene.told).toEqual([
      ['sync', { durationMs: 0, ok: true }],
      ['later', { durationMs: 100, ok: true }],
    ])
  })

  it('reports a failure and passes the error on', async () => {
    const scene = new Scene()
    scene.listen()
    const { handlerMonitor } = scene.gate
    const broken = (): never => {
      throw new Error('broken')
    }
    expect(() => handlerMonitor.measure(message(), broken)).toThrow('broken')
    await expect(handlerMonitor.measure(message(), async () => broken())).rejects.toThrow('broken')
    expect(scene.told.map(([, { ok }]) => ok)).toEqual([false, false])
  })

  it('logs an error of a listener once', () => {
    const scene = new Scene()
    scene.gate.handlerMonitor.on(() => {
      throw new Error('mine')
    })
    for (let n = 0; n < 100; n++) scene.gate.handlerMonitor.record(message(), { durationMs: 1, ok: true })
    expect(scene.errors).toHaveLength(1)
  })

  it('records results for the middleware of the topic', () => {
    const scene = new Scene()
    const here = circuitBreaker({ keyOf: () => 'one' })
    const there = circuitBreaker({ keyOf: () => 'one' })
    scene.gate.use('work/+', here.guard).use('other/#', there.guard)
    for (let n = 0; n < 11; n++) scene.gate.handlerMonitor.record(message(), { durationMs: 1, ok: false })
    expect([here.stats().open, there.stats().open]).toEqual([1, 0])
    expect(scene.gate.check(message())).toMatchObject({ outcome: 'retry', rule: 'breaker' })
    expect((scene.gate.check(message('other/a')) as Decision).allowed).toBe(true)
  })

  it('drives a rate by feedback, on the clock of the gate', () => {
    const scene = new Scene()
    const feedback = aimd({ minPerSecond: 10, maxPerSecond: 1_000, startPerSecond: 100 })
    scene.gate.use(feedback.admit)
    for (let n = 0; n < 20; n++) {
      scene.clock.advance(10)
      if ((scene.gate.check(message()) as Decision).allowed)
        scene.gate.handlerMonitor.record(message(), { durationMs: 500, ok: true })
    }
    // The 20th is let through only after the rate was set: 0.9 of the 95 a second that were done.
    expect(feedback.perSecond).toBeCloseTo(85.5, 5)
  })

  it('counts nothing if a limit refuses a message that a rate or breaker let through', () => {
    const scene = new Scene()
    const breaker = circuitBreaker()
    const feedback = aimd({ startPerSecond: 1 })
    scene.gate.use(breaker.guard, feedback.admit, limit({ name: 'none', rate: '1/h' }))
    for (let n = 0; n < 11; n++) breaker.observe(message(), false)
    scene.clock.advance(5_000)
    expect(scene.gate.check(message())).toMatchObject({ allowed: true, rule: 'none' })
    breaker.observe(message(), true)
    scene.clock.advance(1_000)
    const rules = [1, 2, 3].map(() => (scene.gate.check(message()) as Decision).rule)
    expect(rules).toEqual(['none', 'none', 'none'])
  })

  it('is part of explanations, without side effects', async () => {
    const scene = new Scene()
    scene.gate.use(circuitBreaker().guard, aimd({ startPerSecond: 5 }).admit)
    for (let n = 0; n < 3; n++) {
      const { handlers, custom } = await scene.gate.explain(message())
      expect(custom).toBe(0)
      expect(handlers).toEqual([
        { name: 'breaker', description: 'passes: closed for "work/a", 0 of 0 failed' },
        { name: 'feedback', description: 'passes: the handler is given 5 a second' },
      ])
    }
    scene.gate.check(message())
    const busy = {
      allowed: false,
      outcome: 'retry',
      reason: 'handler_busy',
      rule: 'feedback',
      retryAfterMs: 200,
    }
    expect((await scene.gate.explain(message())).decision).toEqual(busy)
    for (let n = 0; n < 11; n++) scene.gate.handlerMonitor.record(message(), { durationMs: 1, ok: false })
    const explained = await scene.gate.explain(message())
    expect(explained.decision).toMatchObject({
      reason: 'handler_failing',
      rule: 'breaker',
      retryAfterMs: 5_000,
    })
    expect(explained.handlers[0]!.description).toBe('is answered retry: open for "work/a", 11 of 11 failed')
  })
})
