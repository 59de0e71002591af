import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Decision } from '../../../src/core/decision.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { MemoryStore } from '../../../src/stores/memory/memory-store.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const outcomes = ['throttle', 'queue', 'latest'] as const

function policy(exceeded: string, rate = '1 per 100s burst 1', more = ''): string {
  return `version: 1\nrules: [{ name: r, topic: "#", per: client, limit: ${rate}, exceeded: ${exceeded} }]\n${more}`
}

async function setScene(text: string, options: ConstructorParameters<typeof Guard>[1] = {}) {
  const clock = new FakeClock(1_000_000)
  const store = new MemoryStore({ clock })
  const gate = await Gate.fromPolicy(text, { clock, store, tiers: {} })
  const guard = new Guard(gate, { holds: 'all', ...options })
  const senderQueue = guard.senderQueue({}, { waitsFully: true })
  const sender = { client: 'a' }
  const enacted: { topic: string; decision: Decision; afterMs: number }[] = []
  const startMs = clock.now()
  const send = (topic: string, more: Partial<Message> = {}): void =>
    senderQueue.admit({ topic, on: 'publish', sender, size: 1, ...more }, decision => {
      enacted.push({ topic, decision, afterMs: clock.now() - startMs })
    })
  return { clock, gate, guard, senderQueue, enacted, send }
}

const note = { reason: 'test' }
const changes: Record<string, (gate: Gate, exceeded: string) => unknown> = {
  'a higher rate': (gate, exceeded) => gate.apply(policy(exceeded, '1000/s')),
  'a policy without the rule': gate => gate.apply('version: 1\nrules: []'),
  'an unlimited override': gate => gate.overrides.add({ client: 'a', limit: 'unlimited', ...note }),
  'a run-time exemption': gate => gate.exemptions.add({ name: 'x', clients: ['a'], ...note }),
  'a tier of lower costs': gate => gate.tiers.add({ client: 'a', tier: 'light', ...note }),
}

describe('held messages are asked about again at once after', () => {
  for (const [name, change] of Object.entries(changes)) {
    it.each(outcomes)(`${name}: %s`, async exceeded => {
      const more = 'tiers: { light: { limit: unlimited, cost: x0.001 } }'
      const { clock, gate, enacted, send, guard } = await setScene(policy(exceeded, undefined, more))
      for (const topic of ['1', '2', '3', '4']) send(topic)
      expect(enacted).toHaveLength(1)
      clock.advance(1_000)
      await change(gate, exceeded)
      clock.advance(10)
      expect(enacted.map(({ topic, decision }) => `${topic} ${decision.outcome}`)).toEqual([
        ...['1 deliver', '2 deliver', '3 deliver', '4 deliver'],
      ])
      expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
      await gate.close()
    })
  }

  it.each(outcomes)('a reset, which passes one: %s', async exceeded => {
    const { clock, gate, enacted, send, guard } = await setScene(policy(exceeded))
    for (const topic of ['1', '2', '3']) send(topic)
    await gate.reset({ rule: 'r', key: 'a' })
    clock.advance(10)
    expect(enacted.map(({ topic }) => topic)).toEqual(['1', '2'])
    expect(guard.stats().held).toBe(1)
  })

  it.each(outcomes)('a ban, which refuses all: %s', async exceeded => {
    const { clock, gate, enacted, send, guard } = await setScene(policy(exceeded))
    for (const topic of ['1', '2', '3']) send(topic)
    await gate.bans.add({ client: 'a', ...note })
    clock.advance(10)
    expect(enacted.map(({ topic, decision }) => `${topic} ${decision.allowed} ${decision.reason}`)).toEqual([
      ...['1 true ok', '2 false banned', '3 false banned'],
    ])
    expect(guard.stats().held).toBe(0)
  })

  it.each(outcomes)('a slower rate, with a longer wait: %s', async exceeded => {
    const { clock, gate, enacted, send } = await setScene(policy(exceeded, '1/s burst 1'))
    for (const topic of ['1', '2']) send(topic)
    await gate.apply(policy(exceeded, '1 per 10s burst 1'))
    clock.advance(1_500)
    expect(enacted).toHaveLength(1)
    clock.advance(10_000)
    expect(enacted).toHaveLength(2)
  })

  it('a change while an answer is pending', async () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock })
    gate.use(limit({ name: 'r', rate: '1 per 100s burst 1', exceeded: 'throttle' }))
    const far = {
      clock,
      check: (message: Message) => {
        const answer = gate.check(message)
        return new Promise<Decision>(resolve => clock.after(50, () => resolve(answer)))
      },
      ruleOf: (name: string) => gate.ruleOf(name),
      on: (event: 'changed', listener: () => void) => gate.on(event, listener),
      off: (event: 'changed', listener: () => void) => gate.off(event, listener),
    }
    const senderQueue = new Guard(far).senderQueue()
    const seen: string[] = []
    const sender = { client: 'a' }
    for (const topic of ['1', '2']) {
      senderQueue.admit({ topic, on: 'publish', sender, size: 1 }, () => seen.push(topic))
    }
    await clock.advanceAsync(20)
    await gate.overrides.add({ client: 'a', limit: 'unlimited', ...note })
    await clock.advanceAsync(200)
    expect(seen).toEqual(['1', '2'])
    await gate.close()
  })
})

describe('a throttled message that could not pass in time', () => {
  it('is held until its time is up, because limits may change meanwhile', async () => {
    const { clock, gate, enacted, send } = await setScene(policy('throttle', '1 per 1h burst 1'), {
      maxHoldMs: 4_000,
    })
    for (const topic of ['1', '2', '3']) send(topic)
    clock.advance(3_999)
    expect(enacted).toHaveLength(1)
    await gate.apply(policy('throttle', '1000/s'))
    clock.advance(10)
    expect(enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'deliver', 'deliver'])
  })

  it('is refused after that time, with the messages behind it', async () => {
    const { clock, enacted, send, guard } = await setScene(policy('throttle', '1 per 1h burst 1'), {
      maxHoldMs: 4_000,
    })
    for (const topic of ['1', '2', '3']) send(topic)
    clock.advance(4_000)
    expect(enacted.map(({ decision, afterMs }) => `${decision.outcome} ${afterMs}`)).toEqual([
      ...['deliver 0', 'drop 4000', 'drop 4000'],
    ])
    expect(guard.stats()).toMatchObject({ held: 0, overflowed: 2 })
  })

  it("is refused at once by a rule's own `upTo`, and if it can never pass", async () => {
    const short = await setScene(policy('{ throttle: { upTo: 4s } }', '1 per 1h burst 1'))
    for (const topic of ['1', '2']) short.send(topic)
    expect(short.enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'drop'])
    const never = await setScene(policy('throttle', '10B/s'))
    never.send('1', { size: 11 })
    expect(never.enacted.map(({ decision }) => decision.outcome)).toEqual(['drop'])
  })
})

describe('a release of many messages', () => {
  it.each(outcomes)('runs in slices of a few milliseconds, in order: %s', async exceeded => {
    const { clock, gate, guard, enacted, send } = await setScene(policy(exceeded), {
      maxHeldPerSender: 5_000,
    })
    for (let index = 0; index <= 3_000; index++) send(`t/${index}`)
    await gate.apply('version: 1\nrules: []')
    const slices: number[] = []
    while (guard.stats().held > 0 && slices.length < 1_000) {
      const before = enacted.length
      clock.advance(1)
      slices.push(enacted.length - before)
    }
    expect(Math.max(...slices)).toBeLessThanOrEqual(130)
    expect(enacted.map(({ topic }) => topic)).toEqual(
      Array.from({ length: 3_001 }, (_, index) => `t/${index}`),
    )
  })

  it('keeps later messages behind', async () => {
    const { clock, gate, guard, enacted, send } = await setScene(policy('throttle'), {
      maxHeldPerSender: 5_000,
    })
    for (let index = 0; index < 1_000; index++) send(`t/${index}`)
    await gate.apply('version: 1\nrules: []')
    for (let index = 1_000; guard.stats().held > 0; index++) {
      send(`t/${index}`)
      clock.advance(1)
    }
    expect(enacted.map(({ topic }) => topic)).toEqual(enacted.map((_, index) => `t/${index}`))
  })

  it('asks about thousands of senders in slices, too', async () => {
    const { clock, gate, guard } = await setScene(policy('throttle'))
    let passed = 0
    for (let index = 0; index < 2_000; index++) {
      const senderQueue = guard.senderQueue()
      const sender = { client: `c${index}` }
      for (let times = 0; times < 2; times++) {
        senderQueue.admit({ topic: 't', on: 'publish', sender, size: 1 }, () => passed++)
      }
    }
    expect(passed).toBe(2_000)
    await gate.apply('version: 1\nrules: []')
    let most = 0
    while (guard.stats().held > 0) {
      const before = passed
      clock.advance(1)
      most = Math.max(most, passed - before)
    }
    expect(passed).toBe(4_000)
    expect(most).toBeLessThanOrEqual(130)
  })
})

describe('a guard', () => {
  it('has no listener at its gate while it holds nothing', async () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock }).use(limit({ name: 'r', rate: '10/s burst 1', exceeded: 'throttle' }))
    const listeners = new Set<() => void>()
    const on = gate.on.bind(gate) as (event: string, listener: () => void) => Gate
    const off = gate.off.bind(gate) as (event: string, listener: () => void) => Gate
    gate.on = ((event: string, listener: () => void) => {
      listeners.add(listener)
      return on(event, listener)
    }) as typeof gate.on
    gate.off = ((event: string, listener: () => void) => {
      listeners.delete(listener)
      return off(event, listener)
    }) as typeof gate.off
    const senderQueue = new Guard(gate).senderQueue()
    const sender = { client: 'a' }
    for (let times = 0; times < 3; times++)
      senderQueue.admit({ topic: 't', on: 'publish', sender, size: 1 }, () => {})
    expect(listeners.size).toBe(1)
    clock.advance(1_000)
    await gate.overrides.add({ client: 'b', limit: 'unlimited', ...note })
    expect(listeners.size).toBe(0)
    await gate.close()
  })
})
