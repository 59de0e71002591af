import { describe, expect, it } from 'vitest'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { type Decision, Gate, MemoryStore, ResilientStore } from '../../../src/index.ts'
import { type AlertRule, defaultAlerts } from '../../../src/metrics/alert-conditions.ts'
import { type Alert, Alerts, type AlertsOptions } from '../../../src/metrics/alert-monitor.ts'
import { DecisionTimer } from '../../../src/metrics/decision-timer.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const BLOCKED: Decision = { allowed: false, outcome: 'drop', reason: 'banned', retryAfterMs: 1 }

function stage(options: Partial<AlertsOptions> = {}) {
  const clock = new FakeClock()
  let blocks = false
  const gate = new Gate({ clock }).use((_message, next) => (blocks ? BLOCKED : next()))
  const analytics = new Analytics({ gate })
  const durations = new DecisionTimer({ gate, every: 2 ** 30, nowMs: () => 0 })
  const told: Alert[] = []
  const alerts = new Alerts({
    gate,
    analytics,
    durations,
    onAlert: alert => void told.push(alert),
    ...options,
  })
  const sender = { client: 'c' }
  /** Simulates ten seconds with the given numbers of blocked and allowed messages. */
  const pass = (blocked: number, allowed: number): void => {
    for (let index = 0; index < blocked + allowed; index++) {
      blocks = index < blocked
      void gate.check({ topic: 't', on: 'publish', sender, size: 0 })
    }
    clock.advance(10_000)
  }
  const names = (): string[] => told.splice(0).map(({ name, state }) => `${name} ${state}`)
  return { clock, gate, analytics, durations, alerts, told, pass, names }
}

describe('alerts', () => {
  it('fire above 30 % and above 50 % blocked, and are resolved well below', () => {
    const { pass, told, names, alerts, clock } = stage()
    pass(30, 70)
    expect(names()).toEqual([])
    pass(32, 68)
    expect(told).toMatchObject([
      { name: 'block_rate_warning', severity: 'warning', state: 'firing', value: 0.31, threshold: 0.3 },
    ])
    const [{ id, sinceMs }] = told as [Alert]
    expect(sinceMs).toBe(clock.now())
    expect(names()).toEqual(['block_rate_warning firing'])
    for (let times = 0; times < 6; times++) pass(60, 40)
    expect(names()).toEqual(['block_rate_critical firing'])
    expect(alerts.firing()).toEqual(['block_rate_warning', 'block_rate_critical'])
    for (let times = 0; times < 6; times++) pass(40, 60)
    expect(names()).toEqual(['block_rate_critical resolved'])
    for (let times = 0; times < 6; times++) pass(0, 100)
    expect(told).toMatchObject([{ id, name: 'block_rate_warning', state: 'resolved', sinceMs }])
    expect(alerts.firing()).toEqual([])
  })

  it('do not flap at a threshold', () => {
    const { pass, names } = stage()
    for (let times = 0; times < 50; times++) pass(times % 2 === 0 ? 36 : 25, 70)
    expect(names()).toEqual(['block_rate_warning firing'])
  })

  it('do not fire for a handful of messages, but are resolved by them, and by silence', () => {
    const { pass, names } = stage()
    pass(3, 0)
    expect(names()).toEqual([])
    pass(30, 0)
    expect(names()).toEqual(['block_rate_warning firing', 'block_rate_critical firing'])
    for (let times = 0; times < 5; times++) pass(0, 1)
    expect(names()).toEqual([])
    pass(0, 1)
    expect(names()).toEqual(['block_rate_warning resolved', 'block_rate_critical resolved'])
    pass(30, 0)
    names()
    for (let times = 0; times < 6; times++) pass(0, 0)
    expect(names()).toEqual(['block_rate_warning resolved', 'block_rate_critical resolved'])
  })

  it('cover volume and slow decisions', () => {
    const { pass, names, durations, told, alerts, gate } = stage({
      rules: defaultAlerts({ volumePerSecond: 50 }),
    })
    for (let index = 0; index < 500; index++) {
      void gate.check({ topic: 't', on: 'publish', sender: {}, size: 0 })
    }
    alerts.evaluate()
    expect(names()).toEqual([])
    pass(0, 1)
    expect(told).toMatchObject([{ name: 'volume', severity: 'info', value: 50.1 }])
    names()
    for (let index = 0; index < 19; index++) durations.record(0.01)
    for (let index = 0; index < 2; index++) durations.record(0.4)
    pass(0, 450)
    expect(told).toMatchObject([{ name: 'slow_decisions', severity: 'warning', state: 'firing' }])
    const { text } = defaultAlerts().find(({ name }) => name === 'slow_decisions')!
    expect(text(0.21999999999999997)).toBe('one decision in twenty takes longer than 0.22 s')
    expect(told[0]!.value).toBeGreaterThan(0.25)
    names()
    for (let times = 0; times < 7; times++) pass(0, 0)
    expect(names().sort()).toEqual(['slow_decisions resolved', 'volume resolved'])
  })

  it('report a breaker that opens at once, only once, and when it is closed again', async () => {
    const clock = new FakeClock()
    let broken = true
    const inner = new MemoryStore({ clock })
    const failing = Object.assign(Object.create(inner) as MemoryStore, {
      decide: (...args: Parameters<MemoryStore['decide']>) => {
        if (broken) throw new Error('out of reach')
        return inner.decide(...args)
      },
      health: () => ({ ok: !broken }),
      close: () => inner.close(),
      watch: () => () => {},
    })
    const store = new ResilientStore({ store: failing, clock, fallback: 'allow' })
    const gate = new Gate({ clock, store })
    const { limit } = await import('../../../src/index.ts')
    gate.use(limit({ name: 'l', rate: '1000000/s' }))
    const told: Alert[] = []
    const alerts = new Alerts({
      gate,
      analytics: new Analytics({ gate }),
      onAlert: alert => void told.push(alert),
    })
    const check = (): void => void gate.check({ topic: 't', on: 'publish', sender: {}, size: 0 })
    for (let times = 0; times < 50; times++) check()
    expect(told).toMatchObject([{ name: 'breaker_open', severity: 'critical', state: 'firing' }])
    await clock.advanceAsync(20_000)
    expect(told).toHaveLength(1)
    broken = false
    await clock.advanceAsync(100_000)
    check()
    expect(told).toMatchObject([{ state: 'firing' }, { name: 'breaker_open', state: 'resolved' }])
    expect(told[1]!.id).toBe(told[0]!.id)
    alerts.close()
    await store.close()
  })

  it('survive a listener that throws, log it, and stop with close', () => {
    const lines: string[] = []
    const log = (level: string) => (_context: object, text?: string) => void lines.push(`${level}: ${text}`)
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
    const { pass, alerts, clock, analytics } = stage({
      logger,
      onAlert: () => {
        throw new Error('a bug')
      },
    })
    pass(40, 60)
    expect(lines).toEqual(['warn: 40.0 % of decisions block', 'error: a listener of alerts threw'])
    const before = clock.pending
    alerts.close()
    expect(clock.pending).toBe(before - 1)
    pass(100, 0)
    expect(lines).toHaveLength(2)
    analytics.close()
  })

  it('accept custom rules; duplicate names, and a rule that would flap, are rejected', () => {
    const mine: AlertRule = {
      name: 'silence',
      severity: 'warning',
      value: ({ decisions }) => (decisions === 0 ? 1 : 0),
      above: 0,
      clear: -1,
      text: () => 'nobody sends',
    }
    const { pass, names } = stage({ rules: [{ ...mine, above: 0.5, clear: 0 }] })
    pass(0, 1)
    for (let times = 0; times < 6; times++) pass(0, 0)
    pass(0, 1)
    expect(names()).toEqual(['silence firing', 'silence resolved'])
    expect(() => stage({ rules: [mine, mine] })).toThrow('rules[1]: "silence" is the name of two alerts')
    expect(() => stage({ rules: [{ ...mine, above: 1, clear: 1 }] })).toThrow('would flap')
  })
})
