import { describe, expect, it } from 'vitest'
import { type LimitWarning, UsageWarnings } from '../../../../src/chain/rules/usage-warning.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import {
  Gate,
  LeasedStore,
  limit,
  MemoryStore,
  type Message,
  PolicyError,
  quota,
  type Store,
} from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

function from(client: string, topic = 't'): Message {
  return { topic, on: 'publish', sender: { client }, size: 1 }
}

function listen(gate: Gate): string[] {
  const told: string[] = []
  gate.on('warning', warning => {
    if (warning.kind === 'limit_near')
      told.push(`${warning.rule} ${warning.key} ${warning.share} ${warning.used}/${warning.limit}`)
  })
  return told
}

describe('usage warnings', () => {
  it('are emitted once for each share, key and window, before anything is refused', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock }).use(
      limit({ name: 'w', rate: '10/min', algorithm: 'fixed-window', per: 'client', warn: ['95%', '80%'] }),
    )
    const told = listen(gate)
    for (let i = 0; i < 7; i++) gate.check(from('a'))
    expect(told).toEqual([])
    gate.check(from('a'))
    expect(told).toEqual(['w a 0.8 8/10'])
    gate.check(from('a'))
    expect(told).toHaveLength(1)
    expect(gate.check(from('a'))).toMatchObject({ allowed: true, remaining: 0 })
    expect(told).toEqual(['w a 0.8 8/10', 'w a 0.95 10/10'])
    for (let i = 0; i < 20; i++) gate.check(from('a'))
    for (let i = 0; i < 8; i++) gate.check(from('b'))
    expect(told).toEqual(['w a 0.8 8/10', 'w a 0.95 10/10', 'w b 0.8 8/10'])
    clock.advance(60_000)
    for (let i = 0; i < 8; i++) gate.check(from('a'))
    expect(told).toHaveLength(4)
  })

  it('are emitted again for a bucket that could have been full meanwhile', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock }).use(limit({ name: 'b', rate: '10/s', warn: ['50%'] }))
    const told = listen(gate)
    for (let i = 0; i < 5; i++) gate.check(from('a'))
    expect(told).toEqual(['b  0.5 5/10'])
    clock.advance(499)
    for (let i = 0; i < 5; i++) gate.check(from('a'))
    expect(told).toHaveLength(1)
    clock.advance(1)
    gate.check(from('a'))
    expect(told).toHaveLength(2)
  })

  it('are not emitted for a message that another rule refuses', () => {
    const gate = new Gate({ clock: new FakeClock(0) }).use(
      limit({ name: 'strict', rate: '1/h' }),
      limit({ name: 'w', rate: '2/h', warn: ['100%'] }),
    )
    const told = listen(gate)
    for (let i = 0; i < 5; i++) gate.check(from('a'))
    expect(told).toEqual([])
  })

  it('are the same on an asynchronous store', async () => {
    const clock = new FakeClock(0)
    const inner = new MemoryStore({ clock })
    const store: Store = {
      name: 'far',
      algorithms: inner.algorithms,
      decide: async (...args) => inner.decide(...args),
      forget: async selector => inner.forget(selector),
      refund: async charges => inner.refund(charges),
      health: async () => inner.health(),
      close: () => inner.close(),
    }
    for (const one of [store, new LeasedStore({ store: new MemoryStore({ clock }), clock })]) {
      const gate = new Gate({ clock, store: one }).use(
        limit({ name: 'w', rate: '10/h', algorithm: 'fixed-window', warn: ['80%', '95%'] }),
      )
      const told = listen(gate)
      for (let i = 0; i < 12; i++) await gate.check(from('a'))
      expect(told).toEqual(['w  0.8 8/10', 'w  0.95 10/10'])
      await gate.close()
    }
  })

  it('name each of several quotas, in warnings and in refusals', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock }).use(
      quota({ name: 'daily', rate: '4/day', per: 'client', warn: ['75%'] }),
      quota({ name: 'monthly', rate: '6/month', per: 'client', warn: ['100%'] }),
    )
    const told = listen(gate)
    for (let i = 0; i < 4; i++) gate.check(from('a'))
    expect(told).toEqual(['daily a 0.75 3/4'])
    expect(gate.check(from('a'))).toMatchObject({
      reason: 'quota_exceeded',
      rule: 'daily',
      retryAfterMs: 86_400_000,
    })
    clock.advance(86_400_000)
    gate.check(from('a'))
    gate.check(from('a'))
    expect(told).toEqual(['daily a 0.75 3/4', 'monthly a 1 6/6'])
    expect(gate.check(from('a'))).toMatchObject({
      reason: 'quota_exceeded',
      rule: 'monthly',
      retryAfterMs: 30 * 86_400_000,
    })
  })

  it('may repeat beyond the number of remembered keys, which is bounded', () => {
    const told: LimitWarning[] = []
    const usageWarnings = new UsageWarnings(warning => told.push(warning))
    const rule = { name: 'r', limit: { name: 'r', capacity: 1 }, keys: {}, warn: [1] } as never
    const verdict = { allowed: true, remaining: 0, retryAfterMs: 0, resetMs: 1_000 }
    for (let i = 0; i <= MAX_SIZES.warnedKeys; i++) usageWarnings.record(rule, verdict, () => `k${i}`, 0)
    expect(told).toHaveLength(MAX_SIZES.warnedKeys + 1)
    usageWarnings.record(rule, verdict, () => `k${MAX_SIZES.warnedKeys}`, 0)
    expect(told).toHaveLength(MAX_SIZES.warnedKeys + 1)
    usageWarnings.record(rule, verdict, () => 'k0', 0)
    expect(told).toHaveLength(MAX_SIZES.warnedKeys + 2)
  })

  it.each([['80'], ['0%'], ['120%']])('refuse %s', share => {
    expect(() => limit({ name: 'a', rate: '1/s', warn: [share] })).toThrow(PolicyError)
  })
})
