import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { exempt } from '../../../src/chain/rules/exemption.ts'
import type { ExemptOptions } from '../../../src/chain/rules/rule-options.ts'
import type { Operation, Sender } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { PolicyError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const ACTIONS: readonly Operation[] = ['publish', 'subscribe', 'connect', 'deliver']
const SENDER: Sender = { client: 'c', user: 'u', apiKey: 'k', device: 'd', roles: ['r'], ip: '10.0.0.7' }

/** The actions of which an exempt sender's are let pass, of one that has nothing left. */
function exempted(options: ExemptOptions): readonly Operation[] {
  const gate = new Gate({ clock: new FakeClock() }).use(exempt(options))
  for (const on of ACTIONS) gate.use(limit({ name: on, on, rate: '1/hour', burst: 1, cost: 2 }))
  return ACTIONS.filter(on => {
    const decision = gate.check({ topic: 't', on, sender: SENDER, size: 0 })
    return !(decision instanceof Promise) && decision.allowed
  })
}

describe('an exemption', () => {
  it.each([{ users: ['u'] }, { apiKeys: ['k'] }, { roles: ['r'] }])(
    'by %j, which is unauthenticated on connects, applies to all other actions',
    options => {
      expect(exempted(options)).toEqual(['publish', 'subscribe', 'deliver'])
    },
  )
  it.each([
    { ips: ['10.0.0.0/8'] },
    { clients: ['c'] },
    { devices: ['d'] },
    { topics: ['t'] },
    { when: { size: { max: 9 } } },
  ])('by %j applies to all actions', options => {
    expect(exempted(options)).toEqual(ACTIONS)
  })
  it('by both kinds of lists applies to connects by the authenticated ones', () => {
    expect(exempted({ users: ['u'], ips: ['10.0.0.7'] })).toEqual(ACTIONS)
    expect(exempted({ users: ['u'], ips: ['10.9.0.0/16'] })).toEqual(['publish', 'subscribe', 'deliver'])
  })
  it('by an unauthenticated part and a condition does not apply to connects by the condition alone', () => {
    expect(exempted({ users: ['u'], when: { size: { max: 9 } } })).not.toContain('connect')
  })
  it.each([
    ['connect', ['connect']],
    [
      ['publish', 'connect'],
      ['publish', 'connect'],
    ],
  ] as const)('applies to the actions it names: %j', (on, actions) => {
    expect(exempted({ users: ['u'], on })).toEqual(actions)
    expect(exempted({ ips: ['10.0.0.7'], on })).toEqual(actions)
  })
  it('with no action or an unknown one is refused', () => {
    expect(() => exempt({ users: ['u'], on: 'login' as 'connect' })).toThrow(PolicyError)
    expect(() => exempt({ users: ['u'], on: [] })).toThrow(/on: "" is not an action/)
  })
  it('of a policy supports `on` as well', async () => {
    const gate = await Gate.fromPolicy({
      exempt: [{ users: ['u'], on: ['connect'] }],
      rules: [{ name: 'r', on: 'connect', limit: '1/hour' }],
    })
    const check = () => gate.check({ topic: 'connect', on: 'connect', sender: SENDER, size: 0 })
    expect([await check(), await check()].map(({ reason }) => reason)).toEqual(['exempt', 'exempt'])
    await gate.close()
  })
})
