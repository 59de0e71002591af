import { describe, expect, it } from 'vitest'
import type { Clock } from '../../../src/core/clock.ts'
import type { Decision } from '../../../src/core/decision.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { type CompiledPolicy, loadPolicy } from '../../../src/policy/index.ts'

const STANDING: Clock = { now: () => 1_000_000, after: () => () => {} }

async function compile(policy: object | string): Promise<CompiledPolicy> {
  return (await loadPolicy(policy, { env: {} })).compiled
}

async function decide(policy: object, messages: readonly Partial<Message>[]): Promise<readonly Decision[]> {
  const gate = await Gate.fromPolicy(policy, { clock: STANDING, env: {} })
  const sender = { client: 'c' }
  return Promise.all(
    messages.map(message => gate.check({ topic: 'a', on: 'publish', sender, size: 0, ...message })),
  )
}

describe('a compiled policy', () => {
  it('gives exemptions before rules, each in the order of its list', async () => {
    const policy = await compile({
      dialect: 'nats',
      store: { url: 'memory' },
      rules: [
        { name: 'a', topic: 'fleet.{site}.>', per: 'site', limit: '10/s' },
        { name: 'b', quota: '5/day', zone: 'Europe/Berlin' },
      ],
      exempt: [{ name: 'x', topics: ['sys.>'] }, { users: ['u'] }],
    })
    expect(policy).toMatchObject({
      dialect: 'nats',
      store: { url: 'memory' },
      senders: undefined,
      identity: undefined,
    })
    expect(policy.entries.map(({ pattern }) => pattern?.text)).toEqual([
      undefined,
      undefined,
      'fleet.{site}.>',
      undefined,
    ])
    expect(policy.rules).toEqual([
      {
        kind: 'limit',
        topic: 'fleet.{site}.>',
        options: { name: 'a', rate: '10/s', per: 'site', dialect: 'nats' },
      },
      { kind: 'quota', options: { name: 'b', rate: '5/day', zone: 'Europe/Berlin', dialect: 'nats' } },
    ])
    expect(policy.exemptions.map(({ name }) => name)).toEqual(['x', undefined])
  })

  it('says nothing and limits nothing for a policy without rules', async () => {
    const policy = await compile({ version: 1 })
    expect(policy).toMatchObject({ dialect: 'mqtt', store: { url: 'memory' }, entries: [], rules: [] })
  })

  it('carries every word of a rule into what is decided', async () => {
    const messages = Array.from({ length: 4 }, () => ({ size: 400 }))
    const policy = (rule: object): object => ({ rules: [{ name: 'r', ...rule }] })
    const outcomes = async (rule: object): Promise<string> =>
      (await decide(policy(rule), messages)).map(({ outcome }) => outcome[0]).join('')
    expect(await outcomes({ limit: '2/s' })).toBe('ddrr')
    expect(await outcomes({ limit: '2/s burst 3' })).toBe('dddr')
    expect(await outcomes({ limit: '2/s', burst: 3, initial: 1 })).toBe('drrr')
    expect(await outcomes({ limit: '1kB/s' })).toBe('ddrr')
    expect(await outcomes({ limit: '1kB/s', burst: '1.2kB' })).toBe('dddr')
    expect(await outcomes({ limit: '1000/s', cost: 'bytes' })).toBe('ddrr')
    expect(await outcomes({ limit: '10/s', cost: 'medium' })).toBe('ddrr')
    expect(await outcomes({ limit: '3/s', algorithm: 'leaky-bucket', exceeded: 'throttle' })).toBe('dttt')
    expect(await outcomes({ limit: '2/s', on: 'subscribe' })).toBe('dddd')
    expect(await outcomes({ limit: '2/s', enabled: false })).toBe('dddd')
    expect(await outcomes({ limit: '2/s', shadow: true })).toBe('dddd')
    expect(await outcomes({ limit: '2/s', topic: 'b' })).toBe('dddd')
    expect(await outcomes({ limit: 'unlimited' })).toBe('dddd')
    const [, , refused] = await decide(policy({ quota: '2/day' }), messages)
    expect(refused).toMatchObject({ reason: 'quota_exceeded', rule: 'r' })
  })

  it('lets a higher priority stand earlier', async () => {
    const rules = [
      { name: 'low', limit: '5/s' },
      { name: 'high', limit: '5/s', priority: 1 },
    ]
    expect((await decide({ rules }, [{}]))[0]).toMatchObject({ rule: 'high' })
  })

  it('reads senders by the captures of the rules', async () => {
    const policy = {
      senders: { device: '{topic.device}' },
      rules: [{ name: 'r', topic: 'fleet/{device}/#', per: 'device', limit: '1/s' }],
    }
    const topics = ['fleet/d1/a', 'fleet/d1/b', 'fleet/d2/a']
    const decisions = await decide(
      policy,
      topics.map(topic => ({ topic })),
    )
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, false, true])
  })
})
