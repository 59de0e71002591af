import { describe, expect, it } from 'vitest'
import { limit, quota } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import type { Message } from '../../../src/core/message.ts'
import { type Decision, Gate, PolicyError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { gateOn, STORE_NAMES, useStores } from './each-store.ts'

useStores()

const SENDER = { client: 'c' }
const message = (more: Partial<Message> = {}): Message => ({
  ...{ topic: 'a', on: 'publish', sender: SENDER, size: 9, qos: 0, protocol: 'mqtt' },
  ...more,
})
const check = (gate: Gate, asked: Message): Decision => gate.check(asked) as Decision
const rule = (when: ConditionSpec, more: object = {}): object => ({
  rules: [{ name: 'some', limit: '1/h', when, ...more }],
})

const CONDITIONS: readonly (readonly [ConditionSpec, meets: Partial<Message>, misses: Partial<Message>])[] = [
  [{ retain: true }, { retain: true }, { retain: false }],
  [{ qos: [1, 2] }, { qos: 2 }, { qos: 0 }],
  [{ size: { min: '1kB' } }, { size: 1_000 }, { size: 999 }],
  [{ will: true }, { will: true }, {}],
  [{ protocol: 'nats' }, { protocol: 'nats' }, {}],
  [{ header: { name: 'x', equals: 'a' } }, { headers: { x: 'a' } }, { headers: { x: 'b' } }],
  [
    { payload: { field: 'kind', equals: 'bulk' } },
    { payload: () => ({ kind: 'bulk' }) },
    { payload: () => ({ kind: 'one' }) },
  ],
  [{ not: { retain: true } }, {}, { retain: true }],
]

describe.each(STORE_NAMES)('a rule with a condition, on the %s store', store => {
  it.each(CONDITIONS)('%j applies to and charges only its messages', async (when, meets, misses) => {
    const { gate } = await gateOn(store, rule(when))
    for (let count = 0; count < 3; count++) {
      expect(await gate.check(message(misses))).toEqual({
        ...{ allowed: true, outcome: 'deliver', reason: 'ok', retryAfterMs: 0 },
      })
    }
    expect(await gate.check(message(meets))).toMatchObject({ allowed: true, rule: 'some', remaining: 0 })
    expect(await gate.check(message(meets))).toMatchObject({ allowed: false, rule: 'some' })
    expect(await gate.check(message(misses))).toMatchObject({ allowed: true })
  })

  it('does not affect other rules', async () => {
    const all = { name: 'all', limit: '3/h', per: 'client' }
    const kept = { name: 'kept', limit: '1/h', when: { retain: true }, exceeded: 'drop', warn: ['50%'] }
    const { gate } = await gateOn(store, { rules: [all, kept] })
    const warned: string[] = []
    gate.on('warning', ({ rule }) => warned.push(String(rule)))
    expect(await gate.check(message())).toMatchObject({ rule: 'all', remaining: 2 })
    expect(warned).toEqual([])
    expect(await gate.check(message({ retain: true }))).toMatchObject({ rule: 'kept', remaining: 0 })
    expect(warned).toEqual(['kept'])
    expect(await gate.check(message({ retain: true }))).toMatchObject({ allowed: false, outcome: 'drop' })
    // What was refused has charged none of them.
    expect(await gate.check(message())).toMatchObject({ rule: 'all', remaining: 0 })
    expect(await gate.check(message({ retain: true }))).toMatchObject({ allowed: false, outcome: 'reject' })
    expect(warned).toEqual(['kept'])
  })

  it('uses the time of the message', async () => {
    const { gate, clock } = await gateOn(store, rule({ time: '00:00-06:00' }))
    expect(await gate.check(message())).toMatchObject({ rule: 'some' })
    expect(await gate.check(message())).toMatchObject({ allowed: false })
    clock.advance(6 * 3_600_000)
    expect(await gate.check(message())).toMatchObject({ allowed: true })
    expect((await gate.check(message())).rule).toBeUndefined()
  })

  it('treats an unreadable payload as absent, as an exemption does', async () => {
    const { gate } = await gateOn(store, rule({ payload: { field: 'kind', equals: 'bulk' } }))
    for (const payload of [undefined, () => undefined, () => 'bulk', () => Promise.reject.call(null)]) {
      expect((await gate.check(message({ payload: payload as () => unknown }))).rule).toBeUndefined()
    }
  })

  it('that an override has lifted reports that for its messages only', async () => {
    const { gate } = await gateOn(store, rule({ retain: true }))
    await gate.overrides.add({ client: 'c', limit: 'unlimited', rules: ['some'], reason: 'test' })
    expect((await gate.check(message({ retain: true }))).reason).toBe('override')
    expect((await gate.check(message())).reason).toBe('ok')
    expect((await gate.explain(message())).decision.reason).toBe('ok')
  })

  it('is omitted from the peek, explanation and key of other messages', async () => {
    const { gate } = await gateOn(store, rule({ retain: true }, { per: 'client' }))
    expect(await gate.peek(message())).toEqual([])
    expect(await gate.peek(message({ retain: true }))).toMatchObject([{ rule: 'some' }])
    expect(gate.keyOf('some', message())).toBeUndefined()
    expect(gate.keyOf('some', message({ retain: true }))).toBe('c')
    const explanation = await gate.explain(message())
    expect(explanation.limits).toEqual([])
    expect(explanation.skipped).toEqual([{ rule: 'some', by: 'when', when: { retain: true } }])
    expect((await gate.explain(message({ retain: true }))).skipped).toEqual([])
  })
})

describe('a condition of a rule in code', () => {
  it('is the same as in a policy', () => {
    const gate = new Gate({ clock: new FakeClock() }).use(
      limit({ name: 'kept', rate: '1/h', when: { retain: true } }),
      quota({ name: 'large', rate: '1/day', when: { size: { min: '1MB' } } }),
    )
    expect(check(gate, message()).rule).toBeUndefined()
    expect(check(gate, message({ retain: true })).rule).toBe('kept')
    expect(check(gate, message({ size: 2_000_000 })).rule).toBe('large')
    expect(check(gate, message({ size: 2_000_000, retain: true }))).toMatchObject({ allowed: false })
  })

  it('reports errors at its own path', () => {
    const make = (): unknown =>
      limit({ name: 'a', rate: '1/s', when: { qos: 3 as never, retain: 'yes' as never } })
    expect(make).toThrow(PolicyError)
    expect(make).toThrow(/^when\.qos: 3 is not a QoS.*\n?.*when\.retain/s)
  })

  it('parses the payload only if one of the rules needs it', () => {
    let reads = 0
    const payload = (): unknown => {
      reads++
      return {}
    }
    const gate = new Gate({ clock: new FakeClock() }).use(
      limit({ name: 'kept', rate: '9/h', when: { retain: true } }),
    )
    gate.use('b', limit({ name: 'bulk', rate: '9/h', when: { payload: { field: 'a', exists: true } } }))
    check(gate, message({ payload }))
    expect(reads).toBe(0)
    check(gate, message({ topic: 'b', payload }))
    expect(reads).toBe(1)
  })
})
