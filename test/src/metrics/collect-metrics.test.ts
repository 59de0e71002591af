import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  createSender,
  type Decision,
  Gate,
  Guard,
  limit,
  MemoryStore,
  OUTCOMES,
  type Outcome,
  quota,
  type Reason,
  type Sender,
  Webhook,
} from '../../../src/index.ts'
import type { MetricSources } from '../../../src/metrics/collect-metrics.ts'
import { DecisionTimer, quantileOf } from '../../../src/metrics/decision-timer.ts'
import { observeMetrics } from '../../../src/metrics/open-telemetry.ts'
import { registerMetrics } from '../../../src/metrics/register-with-prom-client.ts'
import { renderMetrics } from '../../../src/metrics/render-metrics.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { until } from '../../support/wait.ts'
import { promtool } from './promtool.ts'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

function stage() {
  const clock = new FakeClock(Date.UTC(2026, 0, 14, 12))
  const store = new MemoryStore({ clock })
  const gate = new Gate({ clock, store })
  gate.use(
    limit({
      name: 'burst',
      rate: '4/day',
      algorithm: 'fixed-window',
      per: ['client', 'topic'],
      exceeded: 'drop',
    }),
  )
  gate.use('q/#', quota({ name: 'daily', rate: '2/day', per: 'user', exceeded: 'reject' }))
  let ms = 0
  const analytics = new Analytics({ gate })
  // Each timed decision takes 3 ms.
  const durations = new DecisionTimer({ gate, every: 1, nowMs: () => (ms += 3) })
  const guard = new Guard(gate)
  ends.push(() => durations.close())
  const send = (sender: Sender, topic: string, times: number): void => {
    const one = createSender(sender)
    for (let time = 0; time < times; time++) void gate.check({ topic, on: 'publish', sender: one, size: 1 })
  }
  const sources: MetricSources = { analytics, durations, store, guards: [guard] }
  return { clock, gate, store, analytics, durations, sources, send }
}

describe('rules', () => {
  it('report their decisions, remaining units, and most refused clients', () => {
    const { send, analytics } = stage()
    send({ client: 'a', user: 'ann', ip: '192.0.2.1' }, 'x', 6)
    send({ client: 'b', user: 'bob', ip: '192.0.2.1' }, 'q/1', 3)
    const [burst, daily] = analytics.rules()
    expect(burst).toEqual({
      rule: 'burst',
      total: 6,
      allowed: 4,
      denied: 2,
      shadowRefusals: 0,
      hitRate: 2 / 6,
      meanRemaining: (3 + 2 + 1 + 0 + 0 + 0) / 6,
      violations: {
        clients: { error: 0, list: [{ name: 'a', count: 2 }] },
        users: { error: 0, list: [{ name: 'ann', count: 2 }] },
        ips: { error: 0, list: [{ name: '192.0.2.1', count: 2 }] },
        topics: { error: 0, list: [{ name: 'x', count: 2 }] },
      },
    })
    expect(daily).toMatchObject({ rule: 'daily', total: 3, allowed: 2, denied: 1 })
    analytics.reset('burst')
    expect(analytics.rules().map(({ rule, total }) => [rule, total])).toEqual([['daily', 3]])
    send({ client: 'a' }, 'x', 1)
    analytics.reset()
    expect(analytics.rules()).toEqual([])
    expect(analytics.snapshot()).toMatchObject({ total: 10, blocked: 4 })
  })

  it('are removed when a policy no longer has them', async () => {
    const clock = new FakeClock()
    const policy = (name: string): object => ({ rules: [{ name, limit: '1/day' }] })
    const gate = await Gate.fromPolicy(policy('old'), { clock })
    const analytics = new Analytics({ gate })
    const check = (): void => void gate.check({ topic: 't', on: 'publish', sender: {}, size: 0 })
    check()
    await gate.apply(policy('new'))
    check()
    expect(analytics.rules().map(({ rule }) => rule)).toEqual(['new'])
    await gate.close()
  })

  it('and tiers are counted separately up to a bound, and together beyond it', () => {
    let name = ''
    const gate = new Gate({ clock: new FakeClock() }).use(
      (): Decision => ({ allowed: false, outcome: 'drop', reason: 'banned', rule: name, retryAfterMs: 1 }),
    )
    const analytics = new Analytics({ gate })
    for (let index = 0; index < MAX_SIZES.metricRules + 50; index++) {
      name = `rule ${index}`
      void gate.check({ topic: 't', on: 'publish', sender: { user: 'u', tier: `t${index % 100}` }, size: 0 })
    }
    const rules = analytics.rules()
    // One entry is for decisions without a rule.
    expect(rules.length).toBe(MAX_SIZES.metricRules)
    expect(rules.at(-1)).toMatchObject({ rule: 'other', denied: 51 })
    expect(new Set(analytics.series().map(({ tier }) => tier)).size).toBe(MAX_SIZES.metricTiers + 2)
    expect(rules.filter(({ violations }) => violations.users.list.length > 0)).toHaveLength(
      MAX_SIZES.violationRules,
    )
    for (let index = 0; index < 1_000; index++) {
      name = 'rule 0'
      void gate.check({ topic: `t${index}`, on: 'publish', sender: { user: `u${index}` }, size: 0 })
    }
    const { users } = analytics.rules()[0]!.violations
    expect(users.list).toHaveLength(10)
    expect(users.error).toBeGreaterThan(0)
    expect(users.error).toBeLessThanOrEqual((2 * 1_001) / MAX_SIZES.violationNames)
  })
})

describe('the exposition', () => {
  it('has every reason of a refusal', async () => {
    const reasons = [
      ...['rate_limit_exceeded', 'quota_exceeded', 'banned', 'store_unavailable'],
      ...['superseded', 'handler_busy', 'handler_failing'],
    ] as const satisfies readonly Reason[] as readonly Reason[]
    let reason: Reason = 'ok'
    const gate = new Gate({ clock: new FakeClock() }).use(
      (): Decision => ({ allowed: false, outcome: 'drop', reason, rule: 'r', retryAfterMs: 1 }),
    )
    const analytics = new Analytics({ gate })
    for (reason of reasons) void gate.check({ topic: 't', on: 'publish', sender: {}, size: 0 })
    const text = await renderMetrics({ analytics })
    const told = [...text.matchAll(/^topicgate_blocked_total\{.*reason="(\w+)"\} 1$/gm)].map(
      ([, each]) => each,
    )
    expect(told).toEqual(reasons)
    await gate.close()
  })

  it('is accepted by Prometheus, without a warning of its linter', async () => {
    const { send, sources } = stage()
    send({ client: 'a', tier: 'free' }, 'x', 6)
    send({ client: 'b', user: 'u', tier: 'pro "\\\n\ud800' }, 'q/1', 3)
    const text = await renderMetrics(sources)
    expect(promtool(['check', 'metrics'], text)).toEqual({ fine: true, said: '' })
    const lines = text.split('\n').filter(line => !line.startsWith('#') && !line.includes('duration'))
    expect(lines.filter(line => !line.endsWith(' 0'))).toEqual([
      'topicgate_requests_total{rule="burst",scope="client+topic",tier="free"} 6',
      'topicgate_requests_total{rule="daily",scope="user",tier="pro \\"\\\\\\n\ufffd"} 3',
      'topicgate_allowed_total{rule="burst",scope="client+topic",tier="free",reason="ok"} 4',
      'topicgate_allowed_total{rule="daily",scope="user",tier="pro \\"\\\\\\n\ufffd",reason="ok"} 2',
      'topicgate_blocked_total{rule="burst",scope="client+topic",tier="free",reason="rate_limit_exceeded"} 2',
      'topicgate_blocked_total{rule="daily",scope="user",tier="pro \\"\\\\\\n\ufffd",reason="quota_exceeded"} 1',
      'topicgate_outcomes_total{rule="burst",outcome="deliver"} 4',
      'topicgate_outcomes_total{rule="burst",outcome="drop"} 2',
      'topicgate_outcomes_total{rule="daily",outcome="deliver"} 2',
      'topicgate_outcomes_total{rule="daily",outcome="reject"} 1',
      'topicgate_store_up{store="memory"} 1',
      'topicgate_active_keys{store="memory"} 3',
      '',
    ])
    expect(lines).toEqual(
      expect.arrayContaining([
        'topicgate_evictions_total{store="memory"} 0',
        'topicgate_overflows_total{store="memory"} 0',
        'topicgate_guard_held_messages 0',
        'topicgate_guard_held_bytes 0',
        'topicgate_guard_overflowed_total 0',
        'topicgate_guard_superseded_total 0',
        'topicgate_guard_discarded_total 0',
        'topicgate_guard_fallbacks_total 0',
        'topicgate_guard_timeouts_total 0',
      ]),
    )
    expect(text).toContain('topicgate_decision_duration_seconds_bucket{le="0.0025"} 0\n')
    expect(text).toContain('topicgate_decision_duration_seconds_bucket{le="0.005"} 9\n')
    expect(text).toContain('topicgate_decision_duration_seconds_bucket{le="+Inf"} 9\n')
    expect(text).toContain('topicgate_decision_duration_seconds_count 9\n')
  })

  it('has the counters of each known rule and tier before their first decision, so that rates see the first burst', async () => {
    await using gate = await Gate.fromPolicy(
      {
        tiers: { free: { limit: '100/s' }, gold: { limit: '1000/s' } },
        rules: [
          { name: 'burst', limit: '2/day', per: 'client', exceeded: 'drop' },
          { name: 'daily', topic: 'q/#', quota: '1/day', exceeded: 'throttle' },
          { name: 'size', maxSize: '1kB', exceeded: 'disconnect' },
          { name: 'trial', limit: '1/day', shadow: true },
        ],
      },
      { clock: new FakeClock() },
    )
    const analytics = new Analytics({ gate })
    const seriesOf = async (): Promise<readonly string[]> =>
      (await renderMetrics({ analytics })).split('\n').filter(line => /^topicgate_\w*_total/.test(line))
    const before = await seriesOf()
    expect(before.every(line => line.endsWith(' 0'))).toBe(true)
    for (const tier of [undefined, 'free', 'gold']) {
      const sender = createSender({ client: `c-${tier}`, tier })
      for (const topic of ['q/1', 't']) {
        for (let time = 0; time < 3; time++) void gate.check({ topic, sender, size: 1 })
      }
      void gate.check({ topic: 't', sender, size: 2_000 })
    }
    const after = (await seriesOf()).filter(line => !line.endsWith(' 0'))
    const nameOf = (line: string): string => line.slice(0, line.lastIndexOf(' '))
    expect(after.map(nameOf).filter(name => !before.map(nameOf).includes(name))).toEqual([])
    const counted = ['burst', 'daily', 'size', 'trial'].filter(rule =>
      after.join().includes(`rule="${rule}"`),
    )
    expect(counted).toEqual(['burst', 'daily', 'size', 'trial'])
  })

  it('begins no counters for more rules than are counted separately', async () => {
    const rules = Array.from({ length: MAX_SIZES.metricRules }, (_, index) => ({
      name: `r${index}`,
      topic: `t/${index}`,
      limit: '1/s',
      exceeded: 'drop',
    }))
    await using gate = await Gate.fromPolicy({ rules }, { clock: new FakeClock() })
    const analytics = new Analytics({ gate })
    expect(await renderMetrics({ analytics })).not.toContain('rule="r')
    await gate.apply({ tiers: { gold: { limit: '9/s' } }, rules: rules.slice(0, 600) })
    const text = await renderMetrics({ analytics })
    expect(text).toContain('topicgate_outcomes_total{rule="r1",outcome="drop"} 0')
    expect(text).not.toContain('topicgate_requests_total{rule="r1"')
  })

  it('counts each outcome of a rule, whatever the order and the tier', async () => {
    let outcome: Outcome = 'deliver'
    const gate = new Gate({ clock: new FakeClock() }).use(
      (): Decision => ({
        allowed: outcome === 'deliver' || outcome === 'degrade',
        outcome,
        reason: 'ok',
        rule: 'r',
        retryAfterMs: 0,
      }),
    )
    const analytics = new Analytics({ gate })
    const senders = ['free', 'pro'].map(tier => createSender({ tier }))
    for (const [index, each] of OUTCOMES.entries()) {
      outcome = each
      for (let time = 0; time <= index; time++)
        void gate.check({ topic: 't', sender: senders[time % 2]!, size: 0 })
    }
    outcome = 'throttle'
    void gate.check({ topic: 't', sender: senders[0]!, size: 0 })
    const text = await renderMetrics({ analytics })
    const counts = [...text.matchAll(/^topicgate_outcomes_total\{rule="r",outcome="(.*)"\} (\d+)$/gm)]
    expect(counts.map(([, name, count]) => [name, Number(count)])).toEqual(
      OUTCOMES.map((name, index) => [name, index + 1 + (name === 'throttle' ? 1 : 0)]),
    )
  })

  it('counts refusals in shadow by rule, also of a rule that decides nothing', async () => {
    const gate = new Gate({ clock: new FakeClock() }).use(
      limit({ name: 'trial', limit: '2/day', per: 'client', shadow: true, exceeded: 'drop' }),
      limit({ name: 'size', maxSize: 10, shadow: true }),
      limit({ name: 'real', limit: '4/day', per: 'client', exceeded: 'drop' }),
    )
    const analytics = new Analytics({ gate })
    const sender = createSender({ client: 'c' })
    for (let time = 0; time < 5; time++) void gate.check({ topic: 't', sender, size: time === 0 ? 11 : 1 })
    const lines = (await renderMetrics({ analytics })).split('\n')
    expect(lines.filter(line => line.startsWith('topicgate_shadow_total'))).toEqual([
      'topicgate_shadow_total{rule="size"} 1',
      'topicgate_shadow_total{rule="trial"} 3',
    ])
    expect(lines).toContain('topicgate_outcomes_total{rule="real",outcome="deliver"} 4')
    expect(analytics.rules().map(({ rule, shadowRefusals }) => [rule, shadowRefusals])).toEqual(
      expect.arrayContaining([
        ['trial', 3],
        ['size', 1],
        ['real', 0],
      ]),
    )
    analytics.reset('trial')
    expect(await renderMetrics({ analytics })).toContain('topicgate_shadow_total{rule="trial"} 0')
  })

  it('tell the share of the senders for which a rule is in shadow', async () => {
    const gate = new Gate({ clock: new FakeClock() }).use(
      limit({ name: 'trial', limit: '2/day', per: 'client', shadow: '90%' }),
      limit({ name: 'seen', limit: '2/day', shadow: true }),
      limit({ name: 'real', limit: '4/day' }),
    )
    const text = await renderMetrics({ analytics: new Analytics({ gate }) })
    expect(text.match(/^topicgate_shadow_ratio.*$/gm)).toEqual([
      'topicgate_shadow_ratio{rule="trial"} 0.9',
      'topicgate_shadow_ratio{rule="seen"} 1',
      'topicgate_shadow_ratio{rule="real"} 0',
    ])
    expect(text.match(/^topicgate_shadow_total.*$/gm)).toHaveLength(2)
  })

  it('counts refusals in shadow of rules beyond the maximum together', async () => {
    const shadow = Array.from({ length: MAX_SIZES.metricRules + 50 }, (_, index) => `rule ${index}`)
    const gate = new Gate({ clock: new FakeClock() }).use(
      (): Decision => ({ allowed: true, outcome: 'deliver', reason: 'ok', retryAfterMs: 0, shadow }),
    )
    const analytics = new Analytics({ gate })
    void gate.check({ topic: 't', sender: {}, size: 1 })
    const lines = (await renderMetrics({ analytics })).split('\n')
    expect(lines).toContain('topicgate_shadow_total{rule="other"} 51')
    expect(lines.filter(line => line.startsWith('topicgate_shadow_total'))).toHaveLength(
      MAX_SIZES.metricRules,
    )
  })

  it('counts the decisions that the fallback of the store made', async () => {
    await using gate = await Gate.fromPolicy({
      store: { url: 'redis://127.0.0.1:1', fallback: 'memory' },
      rules: [{ name: 'burst', limit: '2/day', per: 'client', exceeded: 'drop' }],
    })
    const analytics = new Analytics({ gate })
    const sender = createSender({ client: 'c' })
    for (let time = 0; time < 3; time++) await gate.check({ topic: 't', sender, size: 1 })
    const lines = (await renderMetrics({ analytics })).split('\n')
    expect(lines).toContain('topicgate_fallback_decisions_total{rule="burst"} 3')
    expect(lines).toContain('topicgate_outcomes_total{rule="burst",outcome="drop"} 1')
  })

  it('has the policy, runtime entries, and adaptive limits of a gate', async () => {
    const clock = new FakeClock(Date.UTC(2026, 0, 14, 12))
    const gate = await Gate.fromPolicy(
      {
        adaptive: { levels: { low: '1 up to 50%', high: 0.5 }, signals: ['cpu'] },
        breaker: { least: 1 },
        feedback: { from: '5/s' },
        rules: [
          { name: 'telemetry', limit: '10/s' },
          { name: 'daily', quota: '5/day' },
        ],
      },
      { clock, load: 0.8 },
    )
    gate.checkSync({ topic: 't', sender: {}, size: 0 })
    await gate.bans.add({ client: 'c1', reason: 'r' })
    for (let time = 0; time < 2; time++)
      gate.handlerMonitor.record(
        { topic: 't', sender: {}, size: 0, on: 'publish' },
        { durationMs: 1, ok: false },
      )
    await expect(gate.apply({ rules: [{ limit: 1 }] })).rejects.toThrow()
    const text = await renderMetrics({ analytics: new Analytics({ gate }), gate })
    expect(promtool(['check', 'metrics'], text)).toEqual({ fine: true, said: '' })
    const { fingerprint } = gate.stats().policy.applied!
    expect(text.split('\n').filter(line => line.startsWith('topicgate') && !/_total\{/.test(line))).toEqual([
      expect.stringMatching(/^topicgate_shadow_ratio/),
      expect.stringMatching(/^topicgate_shadow_ratio/),
      `topicgate_policy_applied_timestamp_seconds ${Date.UTC(2026, 0, 14, 12) / 1_000}`,
      `topicgate_policy_info{fingerprint="${fingerprint}"} 1`,
      'topicgate_policy_refused_total 1',
      'topicgate_policy_last_reload_successful 0',
      'topicgate_runtime_entries{kind="ban"} 1',
      'topicgate_runtime_entries{kind="override"} 0',
      'topicgate_runtime_entries{kind="exemption"} 0',
      'topicgate_runtime_entries{kind="tier"} 0',
      'topicgate_runtime_entries{kind="behaviour"} 0',
      'topicgate_runtime_entries{kind="breaker"} 1',
      'topicgate_adaptive_load_ratio 0.8',
      'topicgate_adaptive_signal{signal="cpu"} 0.8',
      'topicgate_adaptive_factor{rule="telemetry"} 0.5',
      'topicgate_feedback_rate{rule="feedback"} 5',
      'topicgate_handler_breaker_open_keys{rule="breaker"} 1',
    ])
    await gate.close()
  })

  it('has the deliveries of the webhook', async () => {
    const { sources } = stage()
    const webhook = new Webhook({
      url: 'http://127.0.0.1/',
      secret: 's',
      post: async () => ({ status: 400 }),
    })
    webhook.send({
      ...{ id: 'a', name: 'volume', severity: 'info', state: 'firing', text: 't' },
      ...{ value: 2, threshold: 1, sinceMs: 0, atMs: 0 },
    })
    await until(() => webhook.stats().lost === 1)
    const text = await renderMetrics({ ...sources, webhook })
    expect(promtool(['check', 'metrics'], text)).toEqual({ fine: true, said: '' })
    expect(text.split('\n').filter(line => line.startsWith('topicgate_webhook'))).toEqual([
      'topicgate_webhook_waiting_alerts 0',
      'topicgate_webhook_delivered_total 0',
      'topicgate_webhook_lost_total 1',
      'topicgate_webhook_failed_attempts_total 1',
    ])
  })

  it('contains no client, user, address or topic', async () => {
    const { send, sources } = stage()
    send(
      { client: 'secret-c', user: 'secret-u', ip: '203.0.113.77', device: 'secret-d', apiKey: 'secret-k' },
      'q/secret-t',
      9,
    )
    expect(await renderMetrics(sources)).not.toMatch(/secret|203/)
  })

  it('reports the breaker, and a store whose health check fails', async () => {
    const { sources } = stage()
    const behind = (state: 'open' | 'closed') => ({
      name: 'redis',
      health: async () => ({ ok: state === 'closed', state }),
    })
    const open = await renderMetrics({ ...sources, store: behind('open') })
    expect(open).toContain('topicgate_store_up{store="redis"} 0\n')
    expect(open).toContain('topicgate_store_breaker_state{store="redis",state="open"} 1\n')
    expect(open).toContain('topicgate_store_breaker_state{store="redis",state="closed"} 0\n')
    expect(promtool(['check', 'metrics'], open)).toEqual({ fine: true, said: '' })
    const broken = { name: 'redis', health: () => Promise.reject(new Error('broken')) }
    expect(await renderMetrics({ ...sources, store: broken })).toContain(
      'topicgate_store_up{store="redis"} 0\n',
    )
  })
})

describe('durations', () => {
  it('are sampled, include promises until they settle, and stop with close', async () => {
    const gate = new Gate({ clock: new FakeClock() })
    let readings = 0
    const durations = new DecisionTimer({ gate, every: 100, nowMs: () => ++readings })
    const check = () => gate.check({ topic: 't', on: 'publish', sender: {}, size: 0 })
    for (let index = 0; index < 100_000; index++) void check()
    expect(readings).toBeGreaterThan(1_900)
    expect(readings).toBeLessThan(2_100)
    expect(durations.counts().counts.reduce((sum, count) => sum + count, 0)).toBe(readings / 2)
    durations.close()
    const before = readings
    for (let index = 0; index < 1_000; index++) void check()
    expect(readings).toBe(before)

    const later = new Gate({ clock: new FakeClock() }).use(async (_message, next) => next())
    let ms = 0
    const ofLater = new DecisionTimer({ gate: later, every: 1, nowMs: () => ms })
    const answer = later.check({ topic: 't', on: 'publish', sender: {}, size: 0 })
    ms = 40
    await answer
    await new Promise(setImmediate)
    expect(ofLater.counts().sumSeconds).toBe(0.04)
    ofLater.close()
  })

  it('have quantiles interpolated like those of Prometheus', () => {
    const gate = new Gate({ clock: new FakeClock() })
    const durations = new DecisionTimer({ gate })
    ends.push(() => durations.close())
    expect(quantileOf(0.95, undefined, durations.counts())).toBeUndefined()
    for (let index = 0; index < 90; index++) durations.record(0.000_8)
    for (let index = 0; index < 10; index++) durations.record(0.2)
    expect(quantileOf(0.5, undefined, durations.counts())).toBeCloseTo(0.0001 + (0.0009 * 50) / 90, 12)
    expect(quantileOf(0.95, undefined, durations.counts())).toBeCloseTo(0.175, 12)
    const before = durations.counts()
    durations.record(10)
    expect(quantileOf(0.95, before, durations.counts())).toBe(Infinity)
  })
})

describe('other expositions', () => {
  it('a prom-client registry has the same values', async () => {
    const { send, sources } = stage()
    const registry = new Registry()
    const end = await registerMetrics(registry, sources)
    send({ client: 'a', tier: 'free' }, 'x', 6)
    const sorted = (text: string): string[] =>
      text
        .split('\n')
        .filter(line => line !== '')
        .sort()
    expect(sorted(await registry.metrics())).toEqual(sorted(await renderMetrics(sources)))
    end()
    expect(await registry.metrics()).toBe('\n')
  })

  it('an OpenTelemetry meter has the same counts', async () => {
    const { send, sources } = stage()
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
    const provider = new MeterProvider({ readers: [reader] })
    const end = await observeMetrics(provider.getMeter('test'), sources)
    send({ client: 'a', tier: 'free' }, 'x', 6)
    await reader.forceFlush()
    const told = exporter.getMetrics().at(-1)!.scopeMetrics[0]!.metrics
    const points = (name: string) => told.find(({ descriptor }) => descriptor.name === name)?.dataPoints
    const counted = (name: string) => points(name)?.filter(({ value }) => value !== 0)
    expect(counted('topicgate.requests')).toMatchObject([
      { attributes: { rule: 'burst', scope: 'client+topic', tier: 'free' }, value: 6 },
    ])
    expect(counted('topicgate.blocked')).toMatchObject([
      { attributes: { reason: 'rate_limit_exceeded' }, value: 2 },
    ])
    expect(points('topicgate.active.keys')).toMatchObject([{ attributes: { store: 'memory' }, value: 1 }])
    expect(points('topicgate.decision.duration')).toMatchObject([{ value: { count: 6 } }])
    end()
    await provider.shutdown()
  })
})
