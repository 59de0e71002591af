import { describe, expect, it } from 'vitest'
import { findOwnSenderState, type RouteTableInfo } from '../../../../src/chain/senders/sender-state.ts'
import { SenderStateCache } from '../../../../src/chain/senders/sender-state-cache.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { Gate, limit, type Sender } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const gate = {}
const whole: Sender = {
  client: 'c',
  user: 'u',
  device: 'd',
  apiKey: 'k',
  ip: '192.0.2.1',
  roles: ['r', 's'],
  tier: 't',
}

describe('a sender state', () => {
  it('is shared by sender objects with the same parts', () => {
    const cache = new SenderStateCache(gate)
    const state = cache.stateOf(whole, 't')
    expect(cache.stateOf({ ...whole, roles: ['r', 's'] }, 't')).toBe(state)
  })

  it.each(['user', 'device', 'apiKey', 'ip', 'tier'] as const)('is not shared if %s differs', part => {
    const cache = new SenderStateCache(gate)
    const state = cache.stateOf({ ...whole }, 't')
    expect(cache.stateOf({ ...whole, [part]: 'other' }, 't')).not.toBe(state)
    expect(cache.stateOf({ ...whole, [part]: undefined }, 't')).not.toBe(state)
  })

  it('is not shared if the roles differ, also if the application changes its array', () => {
    const cache = new SenderStateCache(gate)
    const roles = ['r']
    const state = cache.stateOf({ client: 'c', roles }, 't')
    expect(cache.stateOf({ client: 'c', roles: ['s'] }, 't')).not.toBe(state)
    const next = cache.stateOf({ client: 'c', roles }, 't')
    roles.push('admin')
    expect(cache.stateOf({ client: 'c', roles }, 't')).not.toBe(next)
  })

  it('is not shared with another gate', () => {
    const [first, second] = [{}, {}].map(each => ({ gate: each, cache: new SenderStateCache(each) }))
    const routes: RouteTableInfo = { canReuseStates: true, gate: first!.gate }
    const sender = { client: 'c' }
    const state = first!.cache.stateOf(sender, 't')
    state.routes = routes
    expect(second!.cache.stateOf(sender, 't')).not.toBe(state)
  })

  it('is replaced by one of its own for an object that is used again and again', () => {
    const cache = new SenderStateCache(gate)
    cache.stateOf({ client: 'c' }, 't')
    const connected = { client: 'c' }
    let uses = 0
    for (; findOwnSenderState(connected, gate) === undefined && uses < 1_000; uses++)
      cache.stateOf(connected, 't')
    expect(uses).toBeLessThan(100)
  })

  it('is forgotten beyond a maximum of senders', () => {
    const cache = new SenderStateCache(gate)
    const stateOf = (index: number) => cache.stateOf({ client: `client-${index}` }, 't')
    const first = stateOf(0)
    for (let index = 1; index < 2 * MAX_SIZES.senderStates; index++) stateOf(index)
    expect(cache.size).toBeLessThanOrEqual(MAX_SIZES.senderStates)
    expect(stateOf(0)).not.toBe(first)
  })

  it.each<[string, Sender, string]>([
    ['a long client', { client: 'c'.repeat(MAX_SIZES.senderStateChars + 1) }, 't'],
    ['a long user', { client: 'c', user: 'u'.repeat(MAX_SIZES.senderStateChars) }, 't'],
    ['long roles', { client: 'c', roles: Array.from({ length: 100 }, () => 'operators-of-a-site') }, 't'],
    ['a long topic', { client: 'c' }, 't'.repeat(MAX_SIZES.cachedTopicChars + 1)],
  ])('is not kept for %s, so that its memory is bounded', (_name, sender, topic) => {
    const cache = new SenderStateCache(gate)
    cache.stateOf(sender, topic)
    expect(cache.size).toBe(0)
  })
})

it('middleware and senderOf get the sender object of the message, whichever state it shares', () => {
  const seen: unknown[] = []
  const limited = new Gate({ clock: new FakeClock() }).use(
    limit({ name: 'client', limit: '10/s', per: 'client' }),
    (_message, next, { sender }) => {
      seen.push(sender)
      return next()
    },
  )
  const senders = [1, 2, 3].map(number => ({ client: 'c', number }))
  const remaining = senders.map(sender => limited.checkSync({ topic: 't', size: 1, sender }).remaining)
  expect(remaining).toEqual([9, 8, 7])
  expect(seen).toEqual(senders)
  expect(limited.senderOf({ topic: 't', size: 1, sender: senders[2]! })).toBe(senders[2])
})
