import { describe, expect, it } from 'vitest'
import { Gate, type Message } from '../../../src/index.ts'
import { findPolicyWarnings, loadPolicy } from '../../../src/policy/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function publish(client: string, topic = 't'): Message {
  return { topic, on: 'publish', sender: { client }, size: 10 }
}

const LIMIT = { name: 'limit', per: 'client', limit: '1/day' }

async function gateOf(policy: object): Promise<Gate> {
  return Gate.fromPolicy({ version: 1, ...policy }, { clock: new FakeClock(1_000_000) })
}

describe('shadow of a policy', () => {
  it('is that of each rule without its own', async () => {
    const rules = [LIMIT, { name: 'size', maxSize: 5, shadow: false }, { name: 'same', unchanged: 'drop' }]
    const gate = await gateOf({ shadow: true, rules })
    expect(gate.ruleOf('limit')?.shadowShare).toBe(1)
    expect(gate.ruleOf('same')?.shadowShare).toBe(1)
    expect(gate.ruleOf('size')?.shadowShare).toBe(0)
    expect(gate.checkSync(publish('a'))).toMatchObject({ allowed: false, rule: 'size' })
  })

  it('is a share of the senders', async () => {
    const gate = await gateOf({ shadow: '90%', rules: [LIMIT, { name: 'all', limit: '1/day' }] })
    expect(gate.ruleOf('limit')?.shadowShare).toBe(0.9)
    // The SHA-256 of client-3 is above 90 %, that of client-1 is not.
    gate.checkSync(publish('client-3'))
    expect(gate.checkSync(publish('client-3'))).toMatchObject({ allowed: false, rule: 'limit' })
    gate.checkSync(publish('client-1'))
    expect(gate.checkSync(publish('client-1'))).toMatchObject({ allowed: true, shadow: ['limit', 'all'] })
  })

  it('refuses nothing by the limits of tiers', async () => {
    const tiers = { gold: { limit: '1/day' }, assign: { default: 'gold' } }
    const gate = await gateOf({ shadow: true, tiers, rules: [{ ...LIMIT, limit: '9/day' }] })
    gate.checkSync(publish('a'))
    expect(gate.checkSync(publish('a'))).toMatchObject({ allowed: true, shadow: ['tier:gold'] })
  })

  it('turns off what cannot only observe, unless it has shadow: false, and warns of it', async () => {
    const rules = [
      { name: 'open', per: 'client', connections: 1 },
      { name: 'kept', per: 'client', subscriptions: 1, shadow: false },
      { name: 'busy', inFlight: 1 },
      LIMIT,
    ]
    const others = { breaker: { failures: '50%' }, penalties: { block: '1m', flapping: '2 connects in 1m' } }
    const policy = { version: 1, shadow: '50%', rules, ...others } as const
    const gate = await gateOf(policy)
    expect([...gate.held.names.values()].flat()).toEqual(['kept'])
    const connect = (): Message => ({ ...publish('a', ''), on: 'connect' })
    for (const _ of [1, 2, 3]) expect(gate.checkSync(connect()).allowed).toBe(true)
    const warnings = findPolicyWarnings(await loadPolicy(policy))
    expect(warnings.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'rules[0]: the rule is off while the policy is in shadow: it cannot only observe',
      'rules[2]: the rule is off while the policy is in shadow: it cannot only observe',
      'breaker: this is off while the policy is in shadow: it cannot only observe',
      'penalties.flapping: this is off while the policy is in shadow: it cannot only observe',
    ])
    await gate.apply({ ...policy, shadow: false })
    expect([...gate.held.names.values()].flat()).toEqual(['open', 'kept'])
    gate.checkSync(connect())
    gate.checkSync(connect())
    expect(gate.checkSync(connect())).toMatchObject({ allowed: false, reason: 'banned' })
  })
})
