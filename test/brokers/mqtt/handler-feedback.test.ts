import { describe, expect, it } from 'vitest'
import { circuitBreaker, type HandlerResult } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { until } from '../../support/wait.ts'
import { openScene } from './harness.ts'

describe('feedback of the handler of an MQTT consumer', () => {
  it('is told to the gate, and opens a breaker', async () => {
    const clock = new FakeClock()
    const breaker = circuitBreaker({ exceeded: 'drop', least: 10 })
    await using scene = await openScene({
      rules: [breaker.guard],
      clock,
      qos: 1,
      handler: async topic => {
        clock.advance(20)
        if (topic === 'in/bad') throw new Error('down')
      },
    })
    const told: HandlerResult[] = []
    scene.gate.handlerMonitor.on((_message, handled) => told.push(handled))
    await scene.publish(16, { topic: 'in/bad' })
    await scene.publish(16, { topic: 'in/good' })
    await until(() => scene.limits.stats().received === 32)
    await until(() => told.length === 27)
    expect(scene.handled.filter(({ topic }) => topic === 'in/bad')).toHaveLength(11)
    expect(scene.limits.stats()).toMatchObject({ delivered: 27, dropped: 5, handlerFailures: 11 })
    expect(told.filter(({ ok }) => ok)).toHaveLength(16)
    expect(told.every(({ durationMs }) => durationMs >= 20)).toBe(true)
  })
})
