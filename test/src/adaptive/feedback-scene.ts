import type { FeedbackLimiter } from '../../../src/adaptive/rate-controller.ts'
import { type Decision, Gate, type Message } from '../../../src/index.ts'
import type { FakeClock } from '../../support/fake-clock.ts'

const SENT: Message = { topic: 'work', on: 'publish', sender: { client: 'c' }, size: 1 }

/** One second of a run. */
export interface Second {
  readonly capacity: number
  readonly admitted: number
  readonly done: number
  readonly waiting: number
}

/**
 * A handler that does so much a second, one message after another, offered a message each millisecond. What it is
 * given too much waits, and its latency shows it; what waited for more than a second fails.
 */
export function runHandler(
  clock: FakeClock,
  feedback: FeedbackLimiter,
  capacityAt: (second: number) => number,
  seconds: number,
): readonly Second[] {
  const gate = new Gate({ clock }).use(feedback.admit)
  const waiting: number[] = []
  const lines: Second[] = []
  let credit = 0
  for (let second = 0; second < seconds; second++) {
    const capacity = capacityAt(second)
    let admitted = 0
    let done = 0
    for (let ms = 0; ms < 1_000; ms++) {
      clock.advance(1)
      if ((gate.check(SENT) as Decision).allowed) {
        waiting.push(clock.now())
        admitted++
      }
      credit = Math.min(1, credit + capacity / 1_000)
      if (credit < 1 || waiting.length === 0) continue
      credit--
      const latencyMs = clock.now() - waiting.shift()!
      feedback.observe(latencyMs, latencyMs <= 1_000)
      done++
    }
    lines.push({ capacity, admitted, done, waiting: waiting.length })
  }
  return lines
}

/** The capacity falls from 500 to 100 a second and comes back. */
export function capacityThatDrops(second: number): number {
  return second >= 20 && second < 50 ? 100 : 500
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
