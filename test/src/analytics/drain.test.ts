import { describe, expect, it } from 'vitest'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { createSender, DecisionTimer, Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const NOON_MS = Date.UTC(2026, 0, 14, 12)
const SLICE_MS = 300_000

/** A process with a gate of its own. */
function startProcess(clock: FakeClock): {
  readonly analytics: Analytics
  send(client: string, times: number): void
} {
  const gate = new Gate({ clock })
  gate.use(
    limit({ name: 'three', rate: '3/day', algorithm: 'fixed-window', per: 'client' }),
    limit({ name: 'trial', rate: '1/day', algorithm: 'fixed-window', per: 'client', shadow: true }),
  )
  const analytics = new Analytics({ gate })
  return {
    analytics,
    send(client, times) {
      const sender = createSender({ client, user: `user of ${client}`, ip: '192.0.2.1', tier: 'paid' })
      for (let time = 0; time < times; time++) gate.checkSync({ topic: 'a', sender, size: 1 })
    },
  }
}

describe('analytics of several processes', () => {
  it('add up to those of one process', () => {
    const clock = new FakeClock(NOON_MS)
    const [one, sum, ...workers] = Array.from({ length: 4 }, () => startProcess(clock))
    const addAll = (): void => {
      for (const { analytics } of workers) sum!.analytics.add(analytics.drain())
    }
    for (let round = 0; round < 4; round++) {
      for (const [index, worker] of workers.entries()) {
        for (const target of [one!, worker]) {
          target.send(`client ${index}`, 5)
          target.send('rare', index)
        }
      }
      if (round !== 1) addAll()
      clock.set(clock.now() + SLICE_MS / 2)
    }
    addAll()
    for (const range of ['1h', '24h', '7d'] as const)
      expect(sum!.analytics.snapshot(range)).toEqual(one!.analytics.snapshot(range))
    expect(sum!.analytics.totals()).toEqual(one!.analytics.totals())
    expect(sum!.analytics.rules()).toEqual(one!.analytics.rules())
    expect(sum!.analytics.series()[0]!.countOf('throttle')).toBe(
      one!.analytics.series()[0]!.countOf('throttle'),
    )
  })

  it('are drained once', () => {
    const { analytics, send } = startProcess(new FakeClock(NOON_MS))
    send('a', 5)
    expect(analytics.drain().slices).toHaveLength(1)
    expect(analytics.drain()).toEqual({ rules: [], slices: [] })
    expect(analytics.totals()).toEqual({ total: 0, blocked: 0 })
    send('a', 1)
    expect(analytics.drain().rules).toMatchObject([
      { rule: 'three', tiers: [{ tier: 'paid' }] },
      { rule: 'trial', shadowRefusals: 1, tiers: [] },
    ])
  })

  it('report refusals with their number to listeners', () => {
    const { analytics } = startProcess(new FakeClock(NOON_MS))
    const reported: unknown[] = []
    analytics.onRefusal((refusal, { topic }, { client }, count) =>
      reported.push([refusal.rule, topic, client, count]),
    )
    const refusal = { rule: 'three', reason: 'rate_limit_exceeded', outcome: 'throttle' } as const
    const message = { topic: 'a', on: 'publish' } as const
    analytics.reportRefusals({ ...refusal, retryAfterMs: 5 }, message, { client: 'c' }, 7)
    expect(reported).toEqual([['three', 'a', 'c', 7]])
  })

  it('include the durations of decisions', () => {
    const [one, sum] = [new DecisionTimer({ gate: new Gate() }), new DecisionTimer({ gate: new Gate() })]
    one.record(0.002)
    one.record(3)
    const before = one.counts()
    sum.add(one.drain())
    sum.add(one.drain())
    expect(sum.counts()).toEqual(before)
  })
})
