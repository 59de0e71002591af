import { describe, expect, it } from 'vitest'
import {
  type RouteTableInfo,
  type SenderPlan,
  SenderState,
} from '../../../../src/chain/senders/sender-state.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { Gate, limit } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { random } from '../../../support/random.ts'

const routes: RouteTableInfo = { canReuseStates: true, gate: {} }
const plan = {} as SenderPlan

/** Uses a topic as a gate does. Returns its state and whether it was known. */
function use(sender: SenderState, topic: string, under = routes): { state: SenderState; isKnown: boolean } {
  const known = sender.routes === under ? sender.findTopic(topic, 'publish') : undefined
  if (known !== undefined) return { state: known, isKnown: true }
  const state = sender.stateForNewTopic(under, topic)
  state.setTopic(under, topic, 'publish', plan, sender)
  return { state, isKnown: false }
}

function topics(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}/${index}`)
}

/** Uses topics in turn. Returns how many were known in the last round. */
function useInTurn(sender: SenderState, all: readonly string[], rounds: number): number {
  let known = 0
  for (let round = 0; round < rounds; round++) known = all.filter(topic => use(sender, topic).isKnown).length
  return known
}

const MOST = MAX_SIZES.topicsPerSender + 1

describe('the topics of a sender', () => {
  it('have a state each, with the slots of their counters', () => {
    const sender = new SenderState({ client: 'c' })
    topics('t', MOST).forEach((topic, index) => {
      use(sender, topic).state.setSlot(5, index, 1)
    })
    topics('t', MOST).forEach((topic, index) => {
      const { state, isKnown } = use(sender, topic)
      expect([state.topic, isKnown, state.slotOf(5)]).toEqual([topic, true, index])
    })
  })

  it('are told apart by action', () => {
    const sender = new SenderState({ client: 'c' })
    use(sender, 't')
    use(sender, 'u')
    expect(sender.findTopic('t', 'subscribe')).toBeUndefined()
    expect(sender.findTopic('u', 'deliver')).toBeUndefined()
  })

  it('are bounded, however many topics a sender invents', () => {
    const sender = new SenderState({ client: 'c' })
    const states = new Set(topics('t', 1_000).map(topic => use(sender, topic).state))
    expect(states.size).toBe(MOST)
  })

  it('stay known in part if a sender uses twice as many in turn', () => {
    const sender = new SenderState({ client: 'c' })
    expect(useInTurn(sender, topics('t', MOST), 2)).toBe(MOST)
    expect(useInTurn(sender, topics('t', 2 * MOST), 20)).toBeGreaterThan(MOST / 3)
  })

  it('are forgotten in favour of others that the sender uses from now on', () => {
    const sender = new SenderState({ client: 'c' })
    useInTurn(sender, topics('before', MOST), 10)
    expect(useInTurn(sender, topics('after', MOST - 2), 40)).toBe(MOST - 2)
  })

  it('include one in the state of the sender itself: one that is used again and again', () => {
    const sender = new SenderState({ client: 'c' })
    useInTurn(sender, topics('t', 3), 2)
    use(sender, 't/0').state.setSlot(0, 10, 1)
    use(sender, 't/2').state.setSlot(0, 12, 1)
    for (let count = 0; count < 20; count++) use(sender, 't/2')
    expect([sender.topic, sender.slotOf(0)]).toEqual(['t/2', 12])
    expect(use(sender, 't/0').state.slotOf(0)).toBe(10)
  })

  it('include a single one that is too long to be cached', () => {
    const sender = new SenderState({ client: 'c' })
    const states = new Set([1, 2, 3].map(end => use(sender, 't'.repeat(2_000) + end).state))
    expect(states).toEqual(new Set([sender]))
    use(sender, 'short')
    for (let count = 0; count < 20; count++) use(sender, 'short')
    expect(sender.topic).toHaveLength(2_001)
  })

  it('are forgotten when the routes change', () => {
    const sender = new SenderState({ client: 'c' })
    useInTurn(sender, topics('t', 3), 2)
    const other: RouteTableInfo = { canReuseStates: true, gate: routes.gate }
    expect(use(sender, 't/1', other)).toEqual({ state: sender, isKnown: false })
    expect(use(sender, 't/0', other).isKnown).toBe(false)
  })
})

it('a sender with cached topics gets the same decisions as a new object of it for each message', () => {
  const rates = ['9/min', '40/min burst 7', '80/min', '90/min', '100/min', '400/min']
  const pers = ['topic', ['site', 'client'], 'site', 'kind', ['kind', 'client'], 'client']
  const clock = new FakeClock()
  const [cached, fresh] = [0, 1].map(() =>
    new Gate({ clock }).use(
      'a/{site}/{kind}/#',
      ...rates.map((rate, index) => limit({ name: `rule-${index}`, rate, per: pers[index]! })),
    ),
  )
  const { next } = random(5)
  const senders = ['x', 'y', 'z'].map(client => new SenderState({ client }))
  for (let count = 0; count < 5_000; count++) {
    const [sender, site, kind, end] = [3, 4, 3, 3].map(most => Math.floor(next() ** 2 * most))
    const message = { topic: `a/${site}/${kind}/${end}`, size: 1 }
    const { client } = senders[sender!]!
    const decision = cached!.checkSync({ ...message, sender: senders[sender!]! })
    expect(decision).toEqual(fresh!.checkSync({ ...message, sender: { client } }))
    if (next() < 0.2) clock.advance(1_000)
  }
})

it('a sender with cached headers gets the same decisions as a new object of it for each message', async () => {
  const clock = new FakeClock()
  const policy = {
    senders: { apiKey: '{header.key}', device: '{topic.device}', roles: '{header.role}' },
    exempt: [{ roles: ['staff'], limit: '10/min per apiKey' }],
    rules: [
      { name: 'key', limit: '30/min', per: 'apiKey' },
      { name: 'device', topic: 'a/{device}', limit: '20/min', per: 'device' },
      { name: 'client', limit: '300/min', per: 'client', for: { roles: ['guest', 'staff'] } },
    ],
  }
  const cached = await Gate.fromPolicy({ version: 1, ...policy }, { clock })
  const fresh = await Gate.fromPolicy({ version: 1, ...policy }, { clock })
  const { next } = random(6)
  const sender = new SenderState({ client: 'c' })
  const texts = ['x', 'y', 'z', '', 'k'.repeat(2_000)]
  const roles = ['guest', 'staff', ['guest', 'staff'], 'none']
  for (let count = 0; count < 3_000; count++) {
    const [device, key, role] = [3, texts.length, roles.length].map(most => Math.floor(next() ** 2 * most))
    const headers = { key: texts[key!]!, role: roles[role!]! }
    const message = { topic: `a/${device}`, size: 1, headers }
    const decision = cached.checkSync({ ...message, sender })
    expect(decision).toEqual(fresh.checkSync({ ...message, sender: { client: 'c' } }))
    expect(cached.senderOf({ ...message, sender })).toMatchObject({ device: String(device) })
    if (next() < 0.2) clock.advance(1_000)
  }
})
