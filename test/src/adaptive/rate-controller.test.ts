import { describe, expect, it } from 'vitest'
import {
  type AimdOptions,
  aimd,
  type FeedbackLimiter,
  type GradientOptions,
  gradient,
} from '../../../src/adaptive/index.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { capacityThatDrops, mean, runHandler, type Second } from './feedback-scene.ts'

const LAWS: readonly [string, (options: AimdOptions & GradientOptions) => FeedbackLimiter][] = [
  ['aimd', aimd],
  ['gradient', gradient],
]

function admittedIn(lines: readonly Second[], from: number, to: number): number {
  return mean(lines.slice(from, to).map(({ admitted }) => admitted))
}

describe.each(LAWS)('%s', (_, make) => {
  it('settles within 15 % of a capacity that drops to a fifth and recovers, in 10 s each', () => {
    const clock = new FakeClock()
    const lines = runHandler(clock, make({ maxPerSecond: 1_000, clock }), capacityThatDrops, 80)
    for (const [from, to, capacity] of [
      [10, 20, 500],
      [30, 50, 100],
      [60, 80, 500],
    ] as const) {
      const rate = admittedIn(lines, from, to)
      expect([capacity, Math.abs(rate / capacity - 1) <= 0.15 || rate]).toEqual([capacity, true])
    }
    // The backlog stays what its latency allows.
    expect(Math.max(...lines.slice(30, 50).map(({ waiting }) => waiting))).toBeLessThan(100)
  })

  it('halves the rate of a handler that always fails', () => {
    const clock = new FakeClock()
    const feedback = make({ maxPerSecond: 1_000, startPerSecond: 1_000, clock })
    for (let n = 0; n < 50; n++) {
      clock.advance(200)
      feedback.observe(1, false)
    }
    expect(feedback.perSecond).toBeLessThan(10)
  })

  it('does not raise an unused rate, and stays in its range', () => {
    const clock = new FakeClock()
    const feedback = make({ minPerSecond: 5, maxPerSecond: 1_000, startPerSecond: 50, clock })
    for (let n = 0; n < 100; n++) {
      clock.advance(200)
      feedback.observe(1, true)
    }
    expect(feedback.perSecond).toBe(50)
    for (let n = 0; n < 100; n++) {
      clock.advance(200)
      feedback.observe(Number.NaN, false)
    }
    expect(feedback.perSecond).toBe(5)
  })

  it.each([
    { minPerSecond: 0 },
    { maxPerSecond: MAX_SIZES.feedbackPerSecond + 1 },
    { minPerSecond: 10, maxPerSecond: 5 },
    { startPerSecond: 20_000 },
    { everyMs: 1 },
    { latencyMs: 0 },
    { backoff: 1, headroom: 2 },
    { step: 0, headroom: 0 },
  ])('refuses %o', options => {
    expect(() => make(options)).toThrow(expect.objectContaining({ code: 'TOPICGATE_POLICY' }))
  })
})
