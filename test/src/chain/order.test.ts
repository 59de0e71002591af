import { describe, expect, it } from 'vitest'
import {
  exempt,
  Gate,
  limit,
  MemoryStore,
  type Message,
  type Middleware,
  type Store,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { gateOn, STORE_NAMES, useStores } from './each-store.ts'

useStores()

function from(sender: Message['sender'], more: Partial<Message> = {}): Message {
  return { topic: 't', on: 'publish', sender, size: 1, ...more }
}

/** Reasons of decisions in a row, each with the exemption or rule it names. */
async function ask(gate: Gate, message: Message, times: number): Promise<string> {
  const answers: string[] = []
  for (let i = 0; i < times; i++) {
    const { reason, exemption, rule } = await gate.check(message)
    answers.push(`${reason}/${exemption ?? rule}`)
  }
  return answers.join(' ')
}

describe.each(STORE_NAMES)('the order of a chain on the store %s', name => {
  it.each([
    ['a rule of a higher priority', { exemption: 0, rule: 1 }],
    ['a rule of a priority above that of the exemption', { exemption: -1, rule: 0 }],
  ])('evaluates exemptions before %s', async (_case, priority) => {
    const { gate } = await gateOn(name, {
      exempt: [{ name: 'e', clients: ['c'], priority: priority.exemption }],
      rules: [{ name: 'r', limit: '1/min', priority: priority.rule }],
    })
    expect(await ask(gate, from({ client: 'c' }), 3)).toBe('exempt/e exempt/e exempt/e')
    // What was exempt was charged to nobody.
    expect(await ask(gate, from({ client: 'd' }), 2)).toBe('ok/r rate_limit_exceeded/r')
  })

  it('evaluates exemptions in their order, even one with a limit before one without', async () => {
    const { gate } = await gateOn(name, {
      exempt: [
        { name: 'a', clients: ['c'], limit: '2/min per client' },
        { name: 'b', ips: ['10.0.0.0/8'] },
      ],
      rules: [{ name: 'r', limit: '1/h', per: 'client' }],
    })
    expect(await ask(gate, from({ client: 'c', ip: '10.1.1.1' }), 3)).toBe('exempt/a exempt/a exempt/b')
    expect(await ask(gate, from({ client: 'c' }), 2)).toBe('ok/r rate_limit_exceeded/r')
  })

  it('evaluates a conditional exemption before an unconditional one, if it comes first', async () => {
    const { gate } = await gateOn(name, {
      exempt: [
        { name: 'small', when: { size: { max: 5 } } },
        { name: 'always', clients: ['c'] },
      ],
      rules: [{ name: 'r', limit: '1/h' }],
    })
    const sender = { client: 'c' }
    expect(await ask(gate, from(sender, { size: 5 }), 1)).toBe('exempt/small')
    expect(await ask(gate, from(sender, { size: 6 }), 1)).toBe('exempt/always')
  })

  it('sorts exemptions by priority among themselves, and keeps the order of equals', async () => {
    const { gate } = await gateOn(name, {
      exempt: [
        { name: 'a', clients: ['c'], limit: '1/min' },
        { name: 'b', clients: ['c'], limit: '1/min', priority: 1 },
        { name: 'd', clients: ['c'], limit: '1/min' },
      ],
      rules: [{ name: 'r', limit: '1/h', priority: 5 }],
    })
    expect(await ask(gate, from({ client: 'c' }), 4)).toBe('exempt/b exempt/a exempt/d ok/r')
  })

  it('evaluates runtime exemptions before all others, oldest first', async () => {
    const { gate } = await gateOn(name, {
      exempt: [{ name: 'policy', clients: ['c'], priority: 100 }],
      rules: [{ name: 'r', limit: '1/h', per: 'client' }],
    })
    const sender = { client: 'c' }
    expect(await ask(gate, from(sender), 1)).toBe('exempt/policy')
    const bounded = { clients: ['c'], limit: '1/min per client', reason: 'x' }
    await gate.exemptions.add({ ...bounded, name: 'late', priority: -1 })
    await gate.exemptions.add({ ...bounded, name: 'first' })
    await gate.exemptions.add({ ...bounded, name: 'second' })
    expect(await ask(gate, from(sender), 4)).toBe('exempt/first exempt/second exempt/late exempt/policy')
    await gate.exemptions.add({ ...bounded, name: 'first', limit: '2/min per client' })
    await gate.reset()
    expect(await ask(gate, from(sender), 5)).toBe(
      'exempt/second exempt/first exempt/first exempt/late exempt/policy',
    )
  })

  it('evaluates exemptions added in code before the rules of the policy', async () => {
    const { gate } = await gateOn(name, {
      exempt: [{ name: 'policy', clients: ['c'], limit: '1/min' }],
      rules: [{ name: 'r', limit: '1/h', priority: 1 }],
    })
    gate.use(limit({ name: 'mine', rate: '1/h', priority: 2 }), exempt({ name: 'code', clients: ['c'] }))
    expect(await ask(gate, from({ client: 'c' }), 3)).toBe('exempt/policy exempt/code exempt/code')
  })

  it('keeps middleware in its position, whatever the priorities around it', async () => {
    const { gate } = await gateOn(name, {
      rules: [{ name: 'low', limit: '1/h', priority: -1, exceeded: 'drop' }],
    })
    const seen: string[] = []
    const note: Middleware = ({ topic }, next) => {
      seen.push(topic)
      return next()
    }
    gate.use(
      note,
      exempt({ name: 'code', clients: ['c'] }),
      limit({ name: 'high', rate: '9/h', priority: 9 }),
    )
    expect(await ask(gate, from({ client: 'd' }), 2)).toBe('ok/low rate_limit_exceeded/low')
    expect(seen).toEqual(['t'])
    expect(await ask(gate, from({ client: 'c' }), 1)).toBe('rate_limit_exceeded/low')
  })

  it('reports the shortest wait until the exemption or the rules let a message pass', async () => {
    const { gate, clock } = await gateOn(name, {
      exempt: [
        { name: 'a', clients: ['c'], limit: '1 per 5s per client' },
        { name: 'b', clients: ['c'], limit: '1 per 3s per client' },
      ],
      rules: [
        { name: 'r', limit: '1/min', per: 'client' },
        { name: 's', limit: '1 per 2s', per: 'client' },
      ],
    })
    const message = from({ client: 'c' })
    expect(await ask(gate, message, 3)).toBe('exempt/a exempt/b ok/r')
    const refused = { allowed: false, rule: 'r', retryAfterMs: 3_000, resetMs: 60_000 }
    expect(await gate.check(message)).toMatchObject(refused)
    expect((await gate.explain(message)).decision).toMatchObject(refused)
    expect((await gate.peek(message)).map(({ retryAfterMs }) => retryAfterMs)).toEqual([3_000, 2_000])
    clock.advance(2_999)
    expect(await gate.check(message)).toMatchObject({ allowed: false, retryAfterMs: 1 })
    clock.advance(1)
    expect(await ask(gate, message, 1)).toBe('exempt/b')
  })

  it('never waits for an exemption that does not apply, and waits for one if the rules never pass', async () => {
    const { gate } = await gateOn(name, {
      exempt: [
        { name: 'small', when: { size: { max: 5 } }, limit: '1 per 1s' },
        { name: 'some', clients: ['c'], limit: '1 per 7s' },
      ],
      rules: [{ name: 'r', limit: '1kB/s', cost: 'bytes' }],
    })
    const message = from({ client: 'c' }, { size: 5_000 })
    expect(await ask(gate, message, 1)).toBe('exempt/some')
    expect(await gate.check(message)).toMatchObject({ allowed: false, rule: 'r', retryAfterMs: 7_000 })
    expect(await gate.check(from({ client: 'd' }, { size: 5_000 }))).toMatchObject({ retryAfterMs: Infinity })
  })
})

describe('an exemption with a limit', () => {
  it('marks the decision if the store did not count it', async () => {
    const clock = new FakeClock()
    const memory = new MemoryStore({ clock })
    const store: Store = {
      name: 'standing in',
      algorithms: memory.algorithms,
      decide: (charges, options) =>
        memory.decide(charges, options).map(verdict => ({ ...verdict, fallback: 'local' })),
      refund: charges => memory.refund(charges),
      forget: selector => memory.forget(selector),
      health: () => memory.health(),
      close: () => memory.close(),
    }
    const gate = new Gate({ clock, store })
    gate.use(exempt({ name: 'e', clients: ['c'], limit: '1/min' }), limit({ name: 'r', rate: '1/min' }))
    const message = from({ client: 'c' })
    const exempted = { reason: 'exempt', exemption: 'e', fallback: true }
    expect((await gate.explain(message)).decision).toMatchObject(exempted)
    expect(await gate.peek(message)).toMatchObject([exempted])
    expect(await gate.check(message)).toMatchObject(exempted)
    expect(await gate.check(message)).toMatchObject({ reason: 'ok', rule: 'r', fallback: true })
    await gate.close()
  })
})
