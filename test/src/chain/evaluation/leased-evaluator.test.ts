import { describe, expect, it } from 'vitest'
import {
  createSender,
  type Decision,
  exempt,
  Gate,
  LeasedStore,
  type LimitOptions,
  limit,
  MemoryStore,
  type Message,
  type Store,
} from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { type Random, random } from '../../../support/random.ts'
import { storeWithoutFastPath } from '../store-without-fast-path.ts'

const PLANS = 30
const MESSAGES = 150

function rollRule(chance: Random, index: number): LimitOptions {
  return {
    name: `rule-${index}`,
    rate: `${chance.int(10, 60)} per ${chance.int(5, 60)}s`,
    algorithm: chance.pick(['token-bucket', 'token-bucket', 'fixed-window', 'sliding-counter'] as const),
    per: chance.pick(['client', 'device', 'global', 'topic', ['client', 'topic']] as const),
    exceeded: chance.pick(['reject', 'drop', 'disconnect', 'degrade', 'drop'] as const),
    shadow: chance.chance(0.2),
    cost: chance.pick([1, 1, 0.5, 2] as const),
    warn: chance.chance(0.3) ? ['50%'] : [],
    ...(chance.chance(0.3) ? { when: { size: { min: 2 } } } : {}),
  }
}

/** Several costs of one key. Alone, because units that a refused message gives back forget a refusal of another cost. */
function rollCosts(chance: Random): LimitOptions {
  return { ...rollRule(chance, 0), cost: 'bytes' }
}

/** Decides random messages by random rules, with and without leases in hand, and counts what came of them. */
async function compare(roll: (chance: Random) => readonly LimitOptions[]): Promise<Record<string, number>> {
  const seen = { allowed: 0, refused: 0, shadowed: 0, degraded: 0, exempt: 0, tooLarge: 0, atOnce: 0 }
  let warnings = 0
  for (let plan = 0; plan < PLANS; plan++) {
    const chance = random(plan)
    const clock = new FakeClock()
    const rules = roll(chance)
    const units = chance.pick(['auto', 4, 20] as const)
    const size = limit({ name: 'size', maxSize: 3, exceeded: chance.pick(['drop', 'degrade'] as const) })
    const warned: unknown[][] = [[], []]
    const gates = [(store: Store) => store, storeWithoutFastPath].map((wrap, index) => {
      const store = new LeasedStore({ store: new MemoryStore({ clock }), clock, units, nodes: 1 })
      return new Gate({ clock, store: wrap(store) })
        .use(exempt({ name: 'few', clients: ['client-0'] }), size, ...rules.map(rule => limit(rule)))
        .on('warning', warning => warned[index]!.push(warning))
    })
    const senders = gates.map(() =>
      ['client-0', 'client-1', 'client-2'].map(client => createSender({ client })),
    )
    for (let step = 0; step < MESSAGES; step++) {
      if (chance.chance(0.02)) clock.set(clock.now() - chance.int(1, 2_000))
      else clock.advance(chance.pick([0, 0, 0, 1, 40, 400]))
      const who = chance.int(0, 2)
      const body = { topic: `a/${chance.int(0, 2)}`, on: 'publish', size: chance.int(0, 4) } as const
      const messages = senders.map((all): Message => ({ ...body, sender: all[who]! }))
      const answers = messages.map((message, index) => gates[index]!.check(message))
      if (!(answers[0] instanceof Promise)) seen.atOnce++
      const [decision, expected] = (await Promise.all(answers)) as [Decision, Decision]
      expect(decision, `plan ${plan}, message ${step}`).toEqual(expected)
      // Units that are requested ahead of time, or given back, arrive before the next message.
      await new Promise(setImmediate)
      seen[decision.allowed ? 'allowed' : 'refused']++
      if (decision.shadow !== undefined) seen.shadowed++
      if (decision.outcome === 'degrade') seen.degraded++
      if (decision.reason === 'exempt') seen.exempt++
      if (decision.reason === 'too_large') seen.tooLarge++
    }
    expect(warned[0]).toEqual(warned[1])
    warnings += warned[0]!.length
    for (const gate of gates) await gate.close()
  }
  return { ...seen, warnings }
}

describe('the evaluator of leases', () => {
  it('decides exactly like the store, for several rules', async () => {
    const { warnings, ...seen } = await compare(chance =>
      Array.from({ length: chance.int(1, 5) }, (_, index) => rollRule(chance, index)),
    )
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100)
    expect(warnings).toBeGreaterThan(10)
  })

  it('decides exactly like the store, for several costs of one key', async () => {
    const { allowed, refused, atOnce } = await compare(chance => [rollCosts(chance)])
    for (const count of [allowed, refused, atOnce]) expect(count).toBeGreaterThan(500)
  })
})
