import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { exempt } from '../../../src/chain/rules/exemption.ts'
import type { LimitOptions } from '../../../src/chain/rules/rule-options.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { setScene } from './scene.ts'

const free: Partial<Message> = { payload: () => ({ free: true }) }
const isFree = exempt({ when: { payload: { field: 'free', equals: true } } })
const outcomes = ['latest', 'queue', 'throttle'] as const

function setPolicyScene(exceeded: string, rate = '1/s burst 1') {
  const scene = setScene([])
  const policy = (rule: string) => `version: 1\nrules: [${rule}]`
  const rule = `{ name: r, topic: "#", per: client, limit: ${rate}, exceeded: ${exceeded} }`
  return { ...scene, start: () => scene.gate.apply(policy(rule)), policy, rule }
}

describe('a newer message that an exemption lets pass', () => {
  it.each(outcomes)('is never followed by an older one of its topic, held by %s', exceeded => {
    const { clock, gate, send, enacted } = setScene([])
    gate.use(isFree, limit({ name: 'r', rate: '1/s burst 1', exceeded }))
    send('a')
    send('a')
    send('a', 't', free)
    clock.advance(5_000)
    const passed = enacted.filter(({ decision }) => decision.allowed).map(({ id }) => id)
    expect(passed).toEqual(exceeded === 'latest' ? [0, 2] : [0, 1, 2])
    expect(enacted).toHaveLength(3)
  })

  it('supersedes the held latest message at once, and none of other topics and senders', () => {
    const { clock, gate, send, enacted, guard } = setScene([])
    gate.use(isFree, limit({ name: 'r', rate: '1/s burst 1', exceeded: 'latest' }))
    send('a')
    send('a', 't')
    send('a', 'other')
    send('b', 'elsewhere')
    send('a', 't', free)
    expect(enacted.slice(1).map(({ id, decision }) => `${id} ${decision.reason}`)).toEqual([
      '1 superseded',
      '4 exempt',
    ])
    expect(guard.stats()).toMatchObject({ held: 2, superseded: 1 })
    clock.advance(5_000)
    expect(enacted.map(({ id }) => id)).toEqual([0, 1, 4, 2, 3])
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
  })

  it('waits in the queue only behind the older one', () => {
    const { clock, gate, send, enacted } = setScene([])
    gate.use(isFree, limit({ name: 'r', rate: '1/s burst 1', exceeded: 'queue' }))
    for (let index = 0; index < 3; index++) send('a')
    send('a', 't', free)
    send('a', 'other', free)
    expect(enacted.map(({ id }) => id)).toEqual([0, 4])
    clock.advance(2_000)
    expect(enacted.map(({ id, atMs }) => `${id} ${atMs}`)).toEqual([
      '0 0',
      '4 0',
      '1 1000',
      '2 2000',
      '3 2000',
    ])
  })

  it('supersedes the held latest message also through another queue', () => {
    const { clock, gate, send, enacted } = setScene([])
    const marked = (mark: string): Partial<Message> => ({ headers: { kind: mark } })
    gate.use(
      limit({ name: 'l', rate: '1/s burst 1', per: 'header.kind', exceeded: 'latest' }),
      limit({ name: 'q', rate: '5/s burst 2', exceeded: 'queue' }),
    )
    send('a', 't', marked('x'))
    send('a', 't', marked('x'))
    send('a', 't', marked('y'))
    clock.advance(5_000)
    const passed = enacted.filter(({ decision }) => decision.allowed).map(({ id }) => id)
    expect(passed).toEqual([...passed].sort((a, b) => a - b))
    expect(passed.at(-1)).toBe(2)
  })
})

describe('a newer message that passes after a change', () => {
  const changes: Record<string, (scene: ReturnType<typeof setPolicyScene>) => Promise<unknown>> = {
    'an unlimited override': ({ gate }) =>
      gate.overrides.add({ client: 'a', limit: 'unlimited', reason: 'test' }),
    'a run-time exemption': ({ gate }) => gate.exemptions.add({ name: 'x', clients: ['a'], reason: 'test' }),
    'a reload without the rule': ({ gate }) => gate.apply('version: 1\nrules: []'),
    'a reload that disables the rule': ({ gate, policy, rule }) =>
      gate.apply(policy(rule.replace('per:', 'enabled: false, per:'))),
  }
  for (const [name, change] of Object.entries(changes)) {
    it.each(outcomes)(`as ${name} is never followed by an older one, held by %s`, async exceeded => {
      const scene = setPolicyScene(exceeded)
      await scene.start()
      scene.send('a')
      scene.send('a')
      await change(scene)
      scene.send('a')
      scene.clock.advance(10_000)
      const passed = scene.enacted.filter(({ decision }) => decision.allowed).map(({ id }) => id)
      expect(passed).toEqual([...passed].sort((a, b) => a - b))
      expect(passed.at(-1)).toBe(2)
      expect(scene.enacted).toHaveLength(3)
      await scene.gate.close()
    })
  }
})

describe('any history with exemptions', () => {
  const rules: readonly (LimitOptions & { readonly topic: string })[] = [
    { name: 'q', topic: 'q/#', rate: '20/s burst 2', exceeded: { queue: { max: 12, upTo: '2s' } } },
    { name: 'l', topic: 'l/#', rate: '10/s burst 1', per: 'client', exceeded: 'latest' },
    { name: 'lh', topic: '+/1', rate: '8/s burst 1', per: 'header.kind', exceeded: 'latest' },
    { name: 'a', topic: '+/1', rate: '15/s burst 1', exceeded: { queue: { order: 'arrival' } } },
    { name: 't', topic: 't/#', rate: '20/s burst 1', per: 'client', exceeded: 'throttle' },
  ]
  const step = fc.record({
    client: fc.constantFrom('a', 'b'),
    topic: fc.constantFrom('q/1', 'q/2', 'l/1', 'l/2', 't/1'),
    kind: fc.constantFrom('x', 'y'),
    word: fc.constantFrom('low', 'emergency'),
    free: fc.integer({ min: 0, max: 4 }).map(number => number === 0),
    waitMs: fc.nat(60),
  })

  it.each(['at once', 'later'])('keeps the order of a sender on a topic, with answers %s', async when => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        const clock = new FakeClock()
        const gate = new Gate({ clock })
        gate.use(isFree)
        for (const { topic, ...rule } of rules) gate.use(topic, limit(rule))
        const later = async (message: Message) => gate.check(message)
        const guard = new Guard(
          {
            clock,
            check: message => (when === 'later' ? later(message) : gate.check(message)),
            ruleOf: name => gate.ruleOf(name),
            keyOf: (rule, message) => gate.keyOf(rule, message),
            peek: message => gate.peek(message),
          },
          { holds: 'all' },
        )
        const senderQueues = new Map(['a', 'b'].map(client => [client, guard.senderQueue()]))
        const senders = new Map(['a', 'b'].map(client => [client, { client }]))
        const enacted: { id: number; allowed: boolean }[] = []
        for (const [id, { client, topic, kind, word, free, waitMs }] of steps.entries()) {
          const message: Message = {
            topic,
            on: 'publish',
            sender: senders.get(client)!,
            size: 5,
            headers: { kind },
            payload: () => ({ priority: word, free }),
          }
          senderQueues
            .get(client)!
            .admit(message, decision => enacted.push({ id, allowed: decision.allowed }))
          if (when === 'later') await clock.advanceAsync(waitMs)
          else clock.advance(waitMs)
        }
        for (let round = 0; round < 40 && guard.stats().held > 0; round++) await clock.advanceAsync(1_000)
        expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
        expect(enacted.map(({ id }) => id).sort((a, b) => a - b)).toEqual(steps.map((_, id) => id))
        const last = new Map<string, number>()
        for (const { id, allowed } of enacted) {
          if (!allowed) continue
          const order = `${steps[id]!.client} ${steps[id]!.topic}`
          expect(last.get(order) ?? -1).toBeLessThan(id)
          last.set(order, id)
        }
        guard.close()
      }),
      { seed: 20_262, numRuns: when === 'later' ? 40 : 200 },
    )
  })
})
