import { aimd, type FeedbackLimiter, gradient } from '../../../src/adaptive/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { capacityThatDrops, runHandler, type Second } from './feedback-scene.ts'

const WIDTH = 60
const MOST = 600

/** What the handler could do and what it was given, two seconds a line. */
export function plotFeedback(): string {
  const run = (make: (clock: FakeClock) => FeedbackLimiter): readonly Second[] => {
    const clock = new FakeClock()
    return runHandler(clock, make(clock), capacityThatDrops, 80)
  }
  const byAimd = run(clock => aimd({ maxPerSecond: 1_000, clock }))
  const byGradient = run(clock => gradient({ maxPerSecond: 1_000, clock }))
  const lines = ['   s  | capacity   a aimd   g gradient   * both']
  for (let second = 0; second < byAimd.length; second += 2) {
    const row = Array.from({ length: WIDTH + 1 }, () => ' ')
    const mark = (value: number, sign: string): void => {
      const at = Math.min(WIDTH, Math.round((value / MOST) * WIDTH))
      row[at] = row[at] === ' ' || row[at] === '|' ? sign : '*'
    }
    const mean = (from: readonly Second[]): number =>
      (from[second]!.admitted + from[second + 1]!.admitted) / 2
    mark(byAimd[second]!.capacity, '|')
    mark(mean(byAimd), 'a')
    mark(mean(byGradient), 'g')
    lines.push(`${String(second).padStart(4)}  ${row.join('').trimEnd()}`)
  }
  lines.push(`      0${' '.repeat(18)}200${' '.repeat(17)}400${' '.repeat(15)}600/s`)
  return lines.join('\n')
}
