import { expect } from 'vitest'
import type { Clock } from '../../src/core/clock.ts'
import type { MaybePromise, Message, Sender } from '../../src/core/message.ts'
import { Gate } from '../../src/gate/gate.ts'
import type { Store } from '../../src/stores/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Random, random } from '../support/random.ts'

/** Opens an empty store on a clock. */
export type OpenStore = (clock: Clock) => MaybePromise<Store>

/** Action on a gate at one time. */
type Event =
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'apply'; readonly policy: object }

interface Moment {
  /** Time of the clock; may be earlier than before. */
  readonly atMs: number
  /** True if time passes normally until then, so that timers run and idle keys are swept. Otherwise the clock jumps. */
  readonly runsTimers: boolean
  readonly event: Event
}

/** Features of a policy, and of the events of a gate. */
export interface Features {
  readonly tiers?: boolean | undefined
  /** Token buckets start below full. */
  readonly initial?: boolean | undefined
  /** The policy is applied again at times, with other numbers and algorithms for some rules. */
  readonly reload?: boolean | undefined
}

interface Policy {
  readonly rules: readonly object[]
}

const ALGORITHMS = [
  'token-bucket',
  'leaky-bucket',
  'fixed-window',
  'sliding-log',
  'sliding-counter',
  'quota',
] as const
const TOPICS = ['fleet/#', 'fleet/a/#', 'fleet/{site}/{device}', 'fleet/+/t', 'fleet/a/t'] as const
const START_MS = 1_699_999_990_000

/** Plays one seeded history through a gate on each store and compares each decision with that of the first. */
export async function playOnAll(
  stores: Readonly<Record<string, OpenStore>>,
  seed: number,
  features: Features,
): Promise<void> {
  const dice = random(seed)
  const first = rollPolicy(dice, features)
  const moments = rollMoments(dice, first, features)
  const answers = new Map<string, readonly unknown[]>()
  for (const [name, open] of Object.entries(stores)) {
    answers.set(name, await play(open, first, moments))
  }
  const [[reference, expected] = ['', []]] = answers
  for (const [name, got] of answers) {
    got.forEach((decision, index) => {
      const context = JSON.stringify({ seed, index, policy: first, moments: moments.slice(0, index + 1) })
      expect(decision, `${name} decides otherwise than ${reference}: ${context}`).toEqual(expected[index])
    })
  }
}

async function play(open: OpenStore, policy: object, moments: readonly Moment[]): Promise<unknown[]> {
  const clock = new FakeClock(START_MS)
  const store = await open(clock)
  const gate = await Gate.fromPolicy(policy, { clock, store })
  const decisions: unknown[] = []
  for (const { atMs, runsTimers, event } of moments) {
    if (runsTimers && atMs > clock.now()) await clock.advanceAsync(atMs - clock.now())
    else clock.set(atMs)
    if (event.kind === 'apply') decisions.push(await gate.apply(event.policy))
    else decisions.push({ ...(await gate.check(event.message)) })
  }
  await gate.close()
  await store.close()
  return decisions
}

function rollPolicy(dice: Random, features: Features): Policy {
  const rules = Array.from({ length: dice.int(2, 4) }, (_, index) => rollRule(dice, index, features))
  const cost = dice.pick(['x0.5', 'x1.5', 'x0.333'])
  const tiers = { slow: { limit: 'unlimited', cost }, fast: { limit: '100/s' } }
  return { rules, ...(features.tiers ? { tiers } : {}) }
}

/** Returns a policy with the same rules, some of them with other numbers. */
function changePolicy(dice: Random, policy: Policy, features: Features): Policy {
  const rules = policy.rules.map((rule, index) => {
    if (dice.chance(0.4)) return rule
    const { name: _, topic: __, ...numbers } = rollRule(dice, index, features) as Record<string, unknown>
    const { name, topic } = rule as Record<string, unknown>
    return { name, topic, ...numbers }
  })
  return { ...policy, rules }
}

function rollRule(dice: Random, index: number, features: Features): object {
  const algorithm = dice.pick(ALGORITHMS)
  const common = { name: `r${index}`, topic: dice.pick(TOPICS), per: 'client' }
  if (algorithm === 'quota') return { ...common, quota: `${dice.int(2, 6)}/day` }
  const rate = `${dice.int(1, 5)}${dice.pick(['/s', '/min', ' per 7s', ' per 30s'])}`
  if (algorithm !== 'token-bucket') return { ...common, limit: rate, algorithm }
  const bucket = { ...common, limit: `${rate} burst ${dice.int(2, 6)}` }
  return features.initial ? { ...bucket, initial: dice.int(0, 1) } : bucket
}

function rollMoments(dice: Random, first: Policy, features: Features): readonly Moment[] {
  let atMs = START_MS
  let policy = first
  return Array.from({ length: 60 }, () => {
    atMs += dice.pick([0, 0, 1, 499, 1_000, 2_000, 7_000, 29_999, 60_000])
    const runsTimers = dice.chance(0.2)
    if (!features.reload || !dice.chance(0.15))
      return { atMs, runsTimers, event: { kind: 'message', message: rollMessage(dice) } }
    policy = changePolicy(dice, policy, features)
    return { atMs, runsTimers, event: { kind: 'apply', policy } }
  })
}

function rollMessage(dice: Random): Message {
  const tier = dice.pick(['slow', 'fast', undefined])
  const client = dice.pick(['c1', 'c2'])
  const sender: Sender = tier === undefined ? { client } : { client, tier }
  const topic = `fleet/${dice.pick(['a', 'b'])}/${dice.pick(['t', 'u'])}`
  return { topic, on: 'publish', sender, size: 1 }
}
