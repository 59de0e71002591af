import { describe, expect, it } from 'vitest'
import {
  createSender,
  type ExemptOptions,
  exempt,
  Gate,
  type LimitOptions,
  limit,
  MemoryStore,
  type Message,
  type Store,
} from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { type Random, random } from '../../../support/random.ts'
import { storeWithoutFastPath } from '../store-without-fast-path.ts'

const PLANS = 60
const FEW = { name: 'few', clients: ['client-0'] }
const MESSAGES = 250

function rollRule(chance: Random, index: number): LimitOptions {
  const algorithm = chance.pick([
    'token-bucket',
    'token-bucket',
    'leaky-bucket',
    'fixed-window',
    'sliding-log',
    'sliding-counter',
  ] as const)
  const perSecond = chance.int(1, 6)
  return {
    name: `rule-${index}`,
    rate: `${perSecond} per ${chance.int(1, 3)}s`,
    algorithm,
    ...(algorithm === 'token-bucket' && chance.chance(0.5) ? { burst: chance.int(1, 9) } : {}),
    per: chance.pick(['client', 'device', 'global', 'topic', ['client', 'topic']] as const),
    exceeded: chance.pick(['reject', 'drop', 'disconnect', 'degrade', 'drop'] as const),
    shadow: chance.chance(0.2),
    ...(chance.chance(0.3) ? { cost: chance.pick(['bytes', 0.5, 2] as const) } : {}),
  }
}

/** Plain token buckets, at most four: what most policies are made of. */
function rollCommon(chance: Random, index: number): LimitOptions {
  const perSecond = chance.int(1, 6)
  return {
    name: `rule-${index}`,
    rate: `${perSecond} per ${chance.int(1, 3)}s burst ${chance.int(1, 9)}`,
    per: chance.pick(['client', 'device', 'global', 'topic', ['client', 'topic']] as const),
    exceeded: chance.pick(['reject', 'drop', 'disconnect', 'throttle', 'drop'] as const),
    ...(chance.chance(0.3) ? { cost: chance.pick([1, 0.5, 0.125] as const) } : {}),
  }
}

/** Decides random messages by random rules on both ways, and counts what came of them. */
function compare(mostRules: number, roll: typeof rollRule, few: ExemptOptions): Record<string, number> {
  const seen = { allowed: 0, refused: 0, shadowed: 0, degraded: 0, exempt: 0 }
  for (let plan = 0; plan < PLANS; plan++) {
    const chance = random(plan)
    const clock = new FakeClock()
    const rules = Array.from({ length: chance.int(1, mostRules) }, (_, index) => roll(chance, index))
    const gateOn = (store: Store): Gate =>
      new Gate({ clock, store }).use(exempt(few), ...rules.map(rule => limit(rule)))
    const fused = gateOn(new MemoryStore({ clock }))
    const walked = gateOn(storeWithoutFastPath(new MemoryStore({ clock })))
    const senders = [0, 1, 2].map(index => ({ client: `client-${index}`, device: `device-${index % 2}` }))
    const [ours, theirs] = [senders.map(createSender), senders.map(createSender)]
    // Both stores make their tables now, and so sweep at the same moments.
    const first = { topic: 'first', on: 'publish', size: 1 } as const
    expect(fused.check({ ...first, sender: ours[1]! })).toEqual(
      walked.check({ ...first, sender: theirs[1]! }),
    )
    for (let step = 0; step < MESSAGES; step++) {
      if (chance.chance(0.02)) clock.set(clock.now() - chance.int(1, 2_000))
      else clock.advance(chance.pick([0, 0, 1, 40, 400, 3_000]))
      const who = chance.int(0, senders.length - 1)
      const body = { topic: `a/${chance.int(0, 2)}`, on: 'publish', size: chance.int(0, 3) } as const
      const asked = (all: typeof ours): Message => ({ ...body, sender: all[who]! })
      const decision = fused.check(asked(ours))
      expect(decision, `plan ${plan}, message ${step}`).toEqual(walked.check(asked(theirs)))
      if (decision instanceof Promise) throw new Error('a fused plan made a promise')
      seen[decision.allowed ? 'allowed' : 'refused']++
      if (decision.shadow !== undefined) seen.shadowed++
      if (decision.outcome === 'degrade') seen.degraded++
      if (decision.reason === 'exempt') seen.exempt++
    }
  }
  expect(seen.allowed + seen.refused).toBe(PLANS * MESSAGES)
  return seen
}

describe('the memory evaluator', () => {
  it('decides exactly like the store evaluator', () => {
    for (const count of Object.values(compare(7, rollRule, { ...FEW, limit: '1/s' })))
      expect(count).toBeGreaterThan(500)
  })

  it('decides the same for plain token buckets, which have a faster evaluator', () => {
    const { allowed, refused, exempt } = compare(4, rollCommon, FEW)
    for (const count of [allowed, refused, exempt]) expect(count).toBeGreaterThan(500)
  })

  it('uses the numbers of the store after another gate has changed a rule', () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock })
    const gateOf = (rate: string): Gate =>
      new Gate({ clock, store }).use(limit({ name: 'shared', rate, per: 'client', exceeded: 'drop' }))
    const [sender, other] = [createSender({ client: 'c' }), createSender({ client: 'c' })]
    const message = { topic: 'a', on: 'publish', size: 1 } as const
    const [before, after] = [gateOf('10/s'), gateOf('3 per 30s')]
    expect(before.check({ ...message, sender })).toMatchObject({ allowed: true, remaining: 9 })
    // One of ten is used, of three no more than two are left, and one goes now.
    expect(after.check({ ...message, sender: other })).toMatchObject({ allowed: true, remaining: 1 })
    expect(before.check({ ...message, sender })).toMatchObject({ allowed: true, remaining: 0 })
    expect(before.check({ ...message, sender })).toMatchObject({ allowed: false, retryAfterMs: 10_000 })
    expect(after.check({ ...message, sender: other })).toMatchObject({ allowed: false, retryAfterMs: 10_000 })
  })

  it('names the harshest denial, and the longest wait of all', () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock }).use(
      limit({ name: 'long', rate: '1 per 50s', exceeded: 'drop' }),
      limit({ name: 'harsh', rate: '1 per 10s', exceeded: 'disconnect' }),
      limit({ name: 'seen', rate: '1 per 60s', exceeded: 'reject', shadow: true }),
    )
    const message: Message = { topic: 'a', on: 'publish', size: 1, sender: createSender({ client: 'c' }) }
    gate.check(message)
    clock.advance(4_000)
    expect(gate.check(message)).toEqual({
      allowed: false,
      outcome: 'disconnect',
      reason: 'rate_limit_exceeded',
      rule: 'harsh',
      limit: 1,
      remaining: 0,
      retryAfterMs: 46_000,
      resetMs: 6_000,
      shadow: ['seen'],
    })
  })
})
