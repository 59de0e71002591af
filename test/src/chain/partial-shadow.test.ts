import { describe, expect, it } from 'vitest'
import { Gate, type Message } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const SENDERS = Array.from({ length: 2_000 }, (_, index) => `client-${index}`)

function publish(client: string, topic = 't', more: Partial<Message> = {}): Message {
  return { topic, on: 'publish', sender: { client }, size: 10, ...more }
}

async function gateOf(rules: readonly object[], policy: object = {}): Promise<Gate> {
  return Gate.fromPolicy({ version: 1, ...policy, rules }, { clock: new FakeClock(1_000_000) })
}

/** The senders that a rule refuses, of those that are over its limit. */
function enforcedOf(gate: Gate, clients: readonly string[] = SENDERS): readonly string[] {
  return clients.filter(client => !gate.checkSync(publish(client)).allowed)
}

const RULE = { name: 'trial', maxSize: 5 }

describe('a rule in shadow for a share of senders', () => {
  it('refuses messages of the others, and reports those of the share', async () => {
    const gate = await gateOf([{ ...RULE, shadow: '90%' }])
    const enforced = enforcedOf(gate)
    expect(enforced).toHaveLength(205)
    const observed = SENDERS.find(client => !enforced.includes(client))!
    expect(gate.checkSync(publish(observed))).toMatchObject({ allowed: true, shadow: ['trial'] })
    expect(gate.checkSync(publish(enforced[0]!))).toMatchObject({ allowed: false, rule: 'trial' })
    expect(gate.checkSync(publish(enforced[0]!)).shadow).toBeUndefined()
  })

  it('refuses for the same senders after a reload and at another gate', async () => {
    const gate = await gateOf([{ ...RULE, shadow: '90%' }])
    const before = enforcedOf(gate)
    await gate.apply({ version: 1, rules: [{ ...RULE, shadow: '90%', description: 'again' }] })
    expect(enforcedOf(gate)).toEqual(before)
    expect(enforcedOf(await gateOf([{ ...RULE, shadow: '90%' }]))).toEqual(before)
    // The SHA-256 of these begins with 0xf71bbd61, 0xe98c684f and 0xf590f1af: above 90 % of 2^32.
    expect(before.slice(0, 3)).toEqual(['client-3', 'client-13', 'client-40'])
  })

  it('keeps those that it refuses for when the share shrinks', async () => {
    const shares = [100, 90, 50, 12.5, 1]
    const steps = await Promise.all(
      shares.map(async share => new Set(enforcedOf(await gateOf([{ ...RULE, shadow: `${share}%` }])))),
    )
    const [none, ...more] = steps
    expect(none?.size).toBe(0)
    for (const [index, step] of more.entries())
      for (const client of steps[index]!) expect(step.has(client)).toBe(true)
    expect(more.map(({ size }) => size)).toEqual([205, 1_022, 1_761, 1_982])
  })

  it('keeps the counters of its senders when the share changes', async () => {
    const rule = { name: 'trial', per: 'client', limit: '2/day' }
    const gate = await gateOf([{ ...rule, shadow: true }])
    const [client] = SENDERS as [string]
    gate.checkSync(publish(client))
    gate.checkSync(publish(client))
    expect(gate.checkSync(publish(client))).toMatchObject({ allowed: true, shadow: ['trial'] })
    await gate.apply({ version: 1, rules: [{ ...rule, shadow: '0.001%' }] })
    expect(gate.checkSync(publish(client))).toMatchObject({ allowed: false, rule: 'trial', remaining: 0 })
  })

  it('chooses by what the rule counts per, so that a sender is treated alike on all topics', async () => {
    const rule = { name: 'trial', topic: 'fleet/{site}/{device}/#', per: ['device', 'topic'], shadow: '50%' }
    const gate = await gateOf([{ ...rule, limit: '1/day burst 1' }])
    const refusals = (device: string, client: string): readonly boolean[] =>
      ['a', 'b', 'c'].map(topic => {
        const message = publish(client, `fleet/s/${device}/${topic}`)
        gate.checkSync(message)
        return gate.checkSync(message).allowed
      })
    const devices = Array.from({ length: 40 }, (_, index) => `d${index}`)
    const kinds = devices.map(device => [...new Set(refusals(device, `x-${device}`))])
    expect(kinds.every(({ length }) => length === 1)).toBe(true)
    expect(new Set(kinds.flat())).toEqual(new Set([true, false]))
    // Another client with the same device is treated as the device is.
    expect(devices.map(device => refusals(device, 'other')[0])).toEqual(kinds.map(([first]) => first))
  })

  it('chooses by client where the rule counts all senders together', async () => {
    const gate = await gateOf([{ name: 'all', limit: '1/day', shadow: '50%' }])
    gate.checkSync(publish('first'))
    const share = enforcedOf(gate).length / SENDERS.length
    expect(share).toBeGreaterThan(0.48)
    expect(share).toBeLessThan(0.52)
  })

  it('may be any rule: a quota, one with an outcome of its own, and one that compares payloads', async () => {
    const gate = await gateOf([
      { name: 'quota', per: 'client', quota: '1/day', shadow: '50%' },
      { name: 'lower', per: 'client', limit: '1/day', exceeded: 'degrade', shadow: '50%' },
      { name: 'same', unchanged: 'drop', shadow: '50%', topic: 'same' },
    ])
    const [enforced, observed] = await splitBySharing()
    gate.checkSync(publish(enforced))
    expect(gate.checkSync(publish(enforced))).toMatchObject({ allowed: false, rule: 'quota' })
    gate.checkSync(publish(observed))
    expect(gate.checkSync(publish(observed)).shadow).toEqual(['quota', 'lower'])
    for (const [client, allowed] of [
      [enforced, false],
      [observed, true],
    ] as const) {
      const message = (): Message => publish(client, 'same', { payload: () => 'x', size: 1 })
      gate.checkSync(message())
      expect(gate.checkSync(message()).allowed).toBe(allowed)
    }
  })

  it('decides step by step as in one pass', async () => {
    const rule = { name: 'trial', per: 'client', limit: '1/day', shadow: '50%' }
    const gates = [await gateOf([rule]), await gateOf([rule])]
    // With middleware of its own a gate decides step by step, as with a remote store.
    gates[1]!.use((_message, next) => next())
    for (const client of SENDERS.slice(0, 200)) {
      const [first, second] = gates.map(gate => [1, 2].map(() => gate.checkSync(publish(client))))
      expect(second).toEqual(first)
    }
  })

  it('is explained, with its share', async () => {
    const gate = await gateOf([{ name: 'trial', per: 'client', limit: '1/day', shadow: '50%' }])
    const [enforced, observed] = await splitBySharing()
    const traceOf = async (client: string) => (await gate.explain(publish(client))).limits[0]
    expect(await traceOf(enforced)).toMatchObject({ shadow: false, shadowShare: 0.5 })
    expect(await traceOf(observed)).toMatchObject({ shadow: true, shadowShare: 0.5 })
    expect(gate.ruleOf('trial')).toMatchObject({ isShadow: false, shadowShare: 0.5 })
    expect([...gate.outcomes().keys()]).toEqual(['reject'])
  })
})

/** A sender that a rule in shadow for half of them refuses, and one that it does not. */
async function splitBySharing(): Promise<readonly [enforced: string, observed: string]> {
  const probe = await gateOf([{ ...RULE, shadow: '50%' }])
  const enforced = enforcedOf(probe, SENDERS.slice(0, 20))
  return [enforced[0]!, SENDERS.find(client => !enforced.includes(client))!]
}
