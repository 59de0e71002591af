import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Operation, Sender } from '../../../src/core/message.ts'
import { createSender, type Decision, Gate, PolicyError, type SenderMatchLists } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { gateOn, STORE_NAMES, useStores } from './each-store.ts'

useStores()

const ask = (gate: Gate, sender: Sender, on: Operation = 'publish'): Decision | Promise<Decision> =>
  gate.check({ topic: on === 'connect' ? 'connect' : 'a', on, sender, size: 1 })
const forSome = (lists: SenderMatchLists, more: object = {}): object => ({
  rules: [{ name: 'some', limit: '1/h', for: lists, ...more }],
})

const LISTS: readonly (readonly [SenderMatchLists, covered: Sender, other: Sender])[] = [
  [{ clients: ['c1'] }, { client: 'c1' }, { client: 'c2' }],
  [{ devices: ['d1', 'd2'] }, { device: 'd2' }, { client: 'd2' }],
  [{ users: ['u1'] }, { user: 'u1' }, {}],
  [{ apiKeys: ['k1'] }, { apiKey: 'k1' }, { apiKey: '' }],
  [{ roles: ['guest'] }, { roles: ['a', 'guest'] }, { roles: [] }],
  [{ tiers: ['free'] }, { tier: 'free' }, { tier: 'gold' }],
  [{ ips: ['10.0.0.0/8'] }, { ip: '::ffff:10.1.2.3' }, { ip: '11.0.0.1' }],
  [
    { users: ['u1'], ips: ['fd00::/8'] },
    { user: 'u2', ip: 'fd00::1' },
    { user: 'u2', ip: 'fe00::1' },
  ],
]

describe.each(STORE_NAMES)('a rule for some senders, on the %s store', store => {
  it.each(LISTS)('%j applies to and charges only them', async (lists, covered, other) => {
    const { gate } = await gateOn(store, forSome(lists))
    for (let count = 0; count < 3; count++) expect((await ask(gate, other)).rule).toBeUndefined()
    expect(await ask(gate, covered)).toMatchObject({ allowed: true, rule: 'some', remaining: 0 })
    expect(await ask(gate, covered)).toMatchObject({ allowed: false, rule: 'some' })
    expect(await ask(gate, other)).toMatchObject({ allowed: true })
  })

  it('does not affect rules for others, each with its own counters', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'all', limit: '90/h' },
        { name: 'guests', limit: '2/h', for: { roles: ['guest'] }, per: 'client' },
        { name: 'staff', limit: '3/h', for: { roles: ['staff'] }, per: 'client' },
        { name: 'last', limit: '50/h' },
      ],
    })
    const guest = createSender({ client: 'g', roles: ['guest'] })
    const staff = createSender({ client: 's', roles: ['staff'] })
    const both = createSender({ client: 'b', roles: ['guest', 'staff'] })
    expect(await ask(gate, guest)).toMatchObject({ rule: 'guests', remaining: 1 })
    expect(await ask(gate, staff)).toMatchObject({ rule: 'staff', remaining: 2 })
    expect(await ask(gate, both)).toMatchObject({ rule: 'guests', remaining: 1 })
    expect(await ask(gate, guest)).toMatchObject({ rule: 'guests', remaining: 0 })
    expect(await ask(gate, guest)).toMatchObject({ allowed: false, rule: 'guests' })
    expect(await ask(gate, staff)).toMatchObject({ rule: 'staff', remaining: 1 })
    expect(await ask(gate, both)).toMatchObject({ rule: 'guests', remaining: 0 })
    expect(await ask(gate, both)).toMatchObject({ allowed: false, rule: 'guests' })
  })

  it('follows the tier assigned to a sender at run time', async () => {
    const { gate } = await gateOn(store, {
      ...forSome({ tiers: ['slow'] }),
      tiers: { slow: { limit: 'unlimited' }, assign: { default: 'free' } },
    })
    const sender = createSender({ client: 'c' })
    await ask(gate, sender)
    expect((await ask(gate, sender)).rule).toBe('tier:free')
    await gate.tiers.add({ client: 'c', tier: 'slow', reason: 'test' })
    expect(await ask(gate, sender)).toMatchObject({ allowed: true, rule: 'some' })
    expect(await ask(gate, sender)).toMatchObject({ allowed: false, rule: 'some' })
  })

  it('that an override has lifted does not affect other senders', async () => {
    const { gate } = await gateOn(store, forSome({ users: ['u1'] }))
    await gate.overrides.add({ client: 'c', limit: 'unlimited', rules: ['some'], reason: 'test' })
    expect((await ask(gate, { client: 'c', user: 'u1' })).reason).toBe('override')
    expect((await ask(gate, { client: 'c', user: 'u2' })).reason).toBe('ok')
  })

  it('is omitted from the peek, explanation and key of others', async () => {
    const { gate } = await gateOn(store, forSome({ users: ['u1'] }, { per: 'client' }))
    const asked = (user: string): Parameters<Gate['peek']>[0] => ({
      ...{ topic: 'a', on: 'publish', sender: { client: 'c', user }, size: 1 },
    })
    expect(await gate.peek(asked('u2'))).toEqual([])
    expect(await gate.peek(asked('u1'))).toMatchObject([{ rule: 'some' }])
    expect(gate.keyOf('some', asked('u2'))).toBeUndefined()
    expect(gate.keyOf('some', asked('u1'))).toBe('c')
    expect((await gate.explain(asked('u2'))).skipped).toEqual([
      { rule: 'some', by: 'for', for: { users: ['u1'] } },
    ])
  })
})

describe('a rule for some senders, on connects', () => {
  const LISTED: readonly SenderMatchLists[] = [
    { users: ['u1'] },
    { apiKeys: ['k1'] },
    { roles: ['guest'] },
    { tiers: ['free'] },
    { ips: ['10.0.0.0/8'] },
  ]

  it.each(LISTED)(
    'by %j applies to senders that omit the part, because nothing is authenticated yet',
    lists => {
      const gate = new Gate({ clock: new FakeClock() }).use(
        limit({ name: 'some', on: 'connect', rate: '1/h', for: lists }),
        limit({ name: 'other', on: 'publish', rate: '1/h', for: lists }),
      )
      expect(ask(gate, { client: 'c' }, 'connect')).toMatchObject({ rule: 'some' })
      expect(ask(gate, { client: 'd', roles: [] }, 'connect')).toMatchObject({ allowed: false, rule: 'some' })
      expect((ask(gate, { client: 'c' }) as Decision).rule).toBeUndefined()
    },
  )

  it('does not apply to senders that name another value', () => {
    const gate = new Gate({ clock: new FakeClock() }).use(
      limit({ name: 'some', on: 'connect', rate: '1/h', for: { users: ['u1'] } }),
    )
    expect((ask(gate, { user: 'u2' }, 'connect') as Decision).rule).toBeUndefined()
    expect(ask(gate, { user: 'u1' }, 'connect')).toMatchObject({ rule: 'some' })
  })
})

describe('the senders of a rule', () => {
  const make = (lists: unknown): (() => unknown) => {
    return () => limit({ name: 'a', rate: '1/s', for: lists as SenderMatchLists })
  }

  it.each([
    [{}, /^for: it names no list \(give one of clients, .*or leave it out\)$/],
    ['guest', /^for: a rule is for an object of lists/],
    [{ role: ['guest'] }, /^for: there is no option `role` \(did you mean `roles`\?\)$/],
    [{ roles: 'guest' }, /^for\.roles: it is not a list of texts/],
    [{ ips: ['10.0.0.0/33'] }, /^for\.ips\[0\]: "10.0.0.0\/33" has no valid prefix length/],
  ])('of %j are an error', (lists, message) => {
    expect(make(lists)).toThrow(PolicyError)
    expect(make(lists)).toThrow(message)
  })

  it('are evaluated once per connection, not per message', () => {
    let reads = 0
    const sender = {
      client: 'c',
      get roles() {
        reads++
        return ['guest']
      },
    }
    const gate = new Gate({ clock: new FakeClock() }).use(
      limit({ name: 'some', rate: '100/s', for: { roles: ['guest'] } }),
    )
    ask(gate, sender)
    const settled = reads
    for (let count = 0; count < 50; count++) expect(ask(gate, sender)).toMatchObject({ rule: 'some' })
    expect(reads).toBe(settled)
  })
})
