import { describe, expect, it } from 'vitest'
import { adaptive, aimd, circuitBreaker, Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const POLICY = { rules: [{ name: 'all', limit: '5/s' }] }

describe('the policy in the statistics of a gate', () => {
  it('is absent without a policy', () => {
    const gate = new Gate({ clock: new FakeClock() })
    expect(gate.stats().policy).toEqual({ applied: undefined, refused: 0, isLastApplied: true })
  })

  it('has the time and fingerprint of the policy in force, and counts refused policies', async () => {
    const clock = new FakeClock(1_000)
    const gate = await Gate.fromPolicy(POLICY, { clock })
    const first = gate.stats().policy
    expect(first).toEqual({
      applied: { fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/), atMs: 1_000 },
      refused: 0,
      isLastApplied: true,
    })
    clock.advance(500)
    await expect(gate.apply({ rules: [{ name: 'all', limit: 'fast' }] })).rejects.toThrow('not a rate')
    expect(gate.stats().policy).toEqual({ applied: first.applied, refused: 1, isLastApplied: false })
    await gate.apply({ rules: [{ name: 'all', limit: '6/s' }] })
    const second = gate.stats().policy
    expect(second).toMatchObject({ applied: { atMs: 1_500 }, refused: 1, isLastApplied: true })
    expect(second.applied?.fingerprint).not.toBe(first.applied?.fingerprint)
    await gate.apply(POLICY)
    expect(gate.stats().policy.applied?.fingerprint).toBe(first.applied?.fingerprint)
    await gate.close()
  })

  it('has the same fingerprint whatever its secrets are', async () => {
    const fingerprintOf = async (apiKey: string): Promise<string | undefined> => {
      const exempt = [{ name: 'own', apiKeys: [apiKey] }]
      await using gate = await Gate.fromPolicy({ ...POLICY, exempt }, { clock: new FakeClock() })
      return gate.stats().policy.applied?.fingerprint
    }
    expect(await fingerprintOf('one')).toBe(await fingerprintOf('other'))
  })
})

describe('the rest of the statistics of a gate', () => {
  it('has the number of runtime entries until they expire', async () => {
    const clock = new FakeClock()
    await using gate = new Gate({ clock, tiers: {} })
    await gate.bans.add({ client: 'c1', reason: 'r', for: 1_000 })
    await gate.bans.add({ client: 'c2', reason: 'r' })
    await gate.tiers.add({ client: 'c2', tier: 'free', reason: 'r' })
    expect(gate.stats().runtimeEntries).toMatchObject({ ban: 2, override: 0, exemption: 0, tier: 1 })
    clock.advance(1_000)
    expect(gate.stats().runtimeEntries).toMatchObject({ ban: 1, tier: 1 })
  })

  it('has the factor of each limit by the nearest adaptive middleware before it, and the highest signals', () => {
    const gate = new Gate({ clock: new FakeClock(), load: 0.9 }).use(
      limit({ name: 'before', limit: '5/s' }),
      adaptive({ levels: { low: '1 up to 50%', high: 0.5 }, signals: ['cpu'] }),
      limit({ name: 'half', limit: '5/s' }),
      adaptive({ levels: { low: '1 up to 50%', high: 0.25 }, signals: ['cpu', 'memory'] }),
      limit({ name: 'quarter', limit: '5/s' }),
      limit({ name: 'off', limit: '5/s', enabled: false }),
    )
    gate.checkSync({ topic: 't', sender: {}, size: 0 })
    const { adaptive: stats } = gate.stats()
    expect(stats?.load).toBe(0.9)
    expect([...stats!.signals.keys()].sort()).toEqual(['cpu', 'memory'])
    expect(Object.fromEntries(stats!.factors)).toEqual({ half: 0.5, quarter: 0.25 })
    expect(new Gate({ clock: new FakeClock() }).stats().adaptive).toBeUndefined()
  })

  it('numbers circuit breakers of the same name', () => {
    const gate = new Gate({ clock: new FakeClock() }).use(
      aimd({ minPerSecond: 5 }).admit,
      circuitBreaker().guard,
      circuitBreaker().guard,
    )
    expect(gate.stats().handlers).toEqual([
      { id: 'feedback', perSecond: 5, openKeys: undefined },
      { id: 'breaker', perSecond: undefined, openKeys: 0 },
      { id: 'breaker 2', perSecond: undefined, openKeys: 0 },
    ])
  })
})
