import { describe, expect, it } from 'vitest'
import type { Decision, Gate, Message, Sender } from '../../../src/index.ts'
import { type Random, random } from '../../support/random.ts'
import { gateOn, type OpenGate, STORE_NAMES, type StoreName, useStores } from './each-store.ts'

useStores()

const SEEDS = 12
const MESSAGES = 120
const ACTIONS = ['publish', 'publish', 'publish', 'subscribe', 'connect', 'deliver'] as const
const TOPICS = ['a', 'a/b', 'a/b/c', 'x'] as const

function rollRule(chance: Random, index: number): object {
  const algorithm = chance.pick([
    'token-bucket',
    'token-bucket',
    'leaky-bucket',
    'fixed-window',
    'sliding-log',
    'sliding-counter',
    'quota',
  ] as const)
  const common = {
    name: `r${index}`,
    topic: chance.pick(['#', 'a/#', 'a/+/#', 'a/b']),
    per: chance.pick(['client', 'user', 'tier', 'global', 'topic', ['client', 'topic']] as const),
    exceeded: chance.pick(['reject', 'drop', 'disconnect', 'degrade'] as const),
    shadow: chance.chance(0.2),
    priority: chance.int(-1, 1),
    cost: chance.pick([1, 1, 2, 'bytes'] as const),
    on: chance.pick(ACTIONS),
  }
  if (algorithm === 'quota') return { ...common, quota: `${chance.int(2, 9)}/day` }
  const burst = algorithm === 'token-bucket' && chance.chance(0.5) ? { burst: chance.int(1, 9) } : {}
  return { ...common, ...burst, algorithm, limit: `${chance.int(1, 6)} per ${chance.int(1, 5)}s` }
}

function rollExemption(chance: Random, index: number): object {
  const who = chance.pick([{ clients: ['c0'] }, { users: ['u1'] }, { topics: ['a/b/#'] }, { roles: ['ops'] }])
  return {
    name: `e${index}`,
    ...who,
    priority: chance.int(-1, 1),
    ...(chance.chance(0.5) ? { limit: `1 per ${chance.int(1, 5)}s per client` } : {}),
    ...(chance.chance(0.3) ? { when: { size: { max: 1 } } } : {}),
  }
}

function rollPolicy(chance: Random): object {
  const list = (most: number, roll: (chance: Random, index: number) => object): object[] =>
    Array.from({ length: chance.int(0, most) }, (_, index) => roll(chance, index))
  return {
    rules: list(5, rollRule),
    exempt: list(3, rollExemption),
    ...(chance.chance(0.4)
      ? {
          tiers: {
            free: { limit: '4 per 3s', ...(chance.chance(0.3) ? { cost: 'x0.5' } : {}) },
            ...(chance.chance(0.5) ? { assign: { default: 'free' } } : {}),
          },
        }
      : {}),
    ...(chance.chance(0.2) ? { penalties: { block: '1s', after: '3 refusals in 10s' } } : {}),
    ...(chance.chance(0.2) ? { behaviour: {} } : {}),
    ...(chance.chance(0.2) ? { senders: { user: '{header.user}' } } : {}),
  }
}

const WHO = [{ client: 'c0' }, { client: 'c1' }, { user: 'u1' }, { ip: '10.0.0.0/8' }] as const
const SENDERS: readonly Sender[] = [
  { client: 'c0', user: 'u0', ip: '10.0.0.1', tier: 'free' },
  { client: 'c1', user: 'u1', roles: ['ops'], tier: 'made-up' },
  { client: 'c2', user: '' },
]

/** Changes what is said at run time, on all gates alike. */
async function change(gates: readonly Gate[], chance: Random, index: number): Promise<void> {
  const whom = chance.pick(WHO)
  const [part, text] = Object.entries(whom)[0]!
  const limit = chance.pick(['x2', 'x0.5', '3 per 2s', '4 per 3s burst 7', '9/day', 'unlimited'])
  const one = chance.chance(0.3) ? { rules: gates[0]!.rules().slice(0, 1) } : {}
  const exemption = { ...rollExemption(chance, 0), name: `runtime${index % 2}`, reason: 'x' }
  const kind = chance.int(0, 4)
  for (const gate of gates) {
    // What cannot be is refused by all gates alike.
    if (kind === 0)
      await gate.overrides.add({ ...whom, ...one, limit, reason: 'x', for: '20s' }).catch(() => {})
    else if (kind === 1) await gate.overrides.remove(`${part}:${text}`)
    else if (kind === 2) await gate.exemptions.add({ ...exemption, for: '10s' })
    else if (kind === 3) await gate.bans.add({ ...whom, reason: 'x', for: '2s' })
    else await gate.reset({ rule: 'r0' })
  }
}

async function history(seed: number, names: readonly StoreName[], seen: Set<string>): Promise<void> {
  const chance = random(seed)
  const policy = rollPolicy(chance)
  const opened: OpenGate[] = []
  for (const name of names) opened.push(await gateOn(name, policy))
  const gates = opened.map(({ gate }) => gate)
  const senders = names.map(() => SENDERS.map(sender => ({ ...sender })))
  for (let step = 0; step < MESSAGES; step++) {
    const ms = chance.pick([0, 0, 1, 40, 400, 3_000])
    for (const { clock } of opened) clock.advance(ms)
    if (chance.chance(0.1)) await change(gates, chance, step)
    const who = chance.int(0, SENDERS.length - 1)
    const body = {
      topic: chance.pick(TOPICS),
      on: chance.pick(ACTIONS),
      size: chance.int(0, 3),
      headers: { user: chance.pick(['u1', 'u2']) },
    }
    const answers: Decision[] = []
    for (const [index, gate] of gates.entries()) {
      const message: Message = { ...body, sender: senders[index]![who]! }
      const { decision: explained } = await gate.explain(message)
      const decision = await gate.check(message)
      expect(explained, `${names[index]}, seed ${seed}, message ${step}: explained`).toEqual(decision)
      answers.push(decision)
    }
    seen.add(answers[0]!.reason)
    for (const [index, answer] of answers.entries())
      expect(answer, `${names[index]}, seed ${seed}, message ${step}: ${JSON.stringify(policy)}`).toEqual(
        answers[0],
      )
  }
  for (const { close } of opened) await close()
}

describe('a decision', () => {
  it('is the same on every store, and in an explanation, whatever the runtime entries', async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= SEEDS; seed++)
      await history(seed, seed % 5 === 0 ? STORE_NAMES : ['memory', 'stepwise', 'sqlite'], seen)
    const reasons = ['ok', 'exempt', 'override', 'banned', 'rate_limit_exceeded', 'quota_exceeded']
    expect([...seen].sort()).toEqual(reasons.sort())
  }, 120_000)
})
