import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { exempt } from '../../../src/chain/rules/exemption.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { random } from '../../support/random.ts'
import { priority, setScene } from './scene.ts'

const slow = { name: 'r', rate: '10/s burst 1', exceeded: 'queue' } as const

describe('a queued message', () => {
  it('is released at the allowed rate, each charged once, in the order of its sender', () => {
    const { clock, gate, enacted, send, guard } = setScene([slow])
    let charged = 0
    gate.on('decision', decision => {
      if (decision.allowed) charged++
    })
    for (let index = 0; index < 5; index++) send('a')
    expect(enacted.map(({ id }) => id)).toEqual([0])
    expect(clock.pending).toBe(2)
    clock.advance(1_000)
    expect(enacted.map(({ id, atMs }) => [id, atMs])).toEqual([
      [0, 0],
      [1, 100],
      [2, 200],
      [3, 300],
      [4, 400],
    ])
    expect(charged).toBe(5)
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, heldPeak: 4, overflowed: 0 })
    expect(clock.pending).toBe(0)
  })

  it("delays neither its sender's other topics nor senders of another key", () => {
    const { enacted, send } = setScene([{ ...slow, topic: 'slow/#', per: 'client' }])
    for (const topic of ['slow/1', 'slow/1', 'quick']) send('a', topic)
    send('b', 'slow/1')
    expect(enacted.map(({ id }) => id)).toEqual([0, 2, 3])
  })

  it('is not overtaken by a later message, about which the gate is not asked', () => {
    const { clock, enacted, send } = setScene([slow])
    send('a')
    send('a')
    send('b')
    clock.set(clock.now() + 250)
    send('c')
    send('a')
    expect(enacted.map(({ id }) => id)).toEqual([0])
    clock.advance(2_000)
    expect(enacted.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4])
  })

  it('does not delay an exempt message', () => {
    const { gate, send, idsOf, guard } = setScene([])
    gate.use(exempt({ when: { payload: { field: 'priority', equals: 'emergency' } } }), limit(slow))
    send('a')
    send('a')
    const free = send('a', 'other', priority('emergency'))
    expect(idsOf('deliver')).toEqual([0, free])
    expect(guard.stats().held).toBe(1)
  })

  it('is refused at once, as the rule says, if it can never pass', () => {
    const { enacted, send } = setScene([
      { name: 'r', rate: '10B/s', exceeded: { queue: { then: 'reject' } } },
    ])
    send('a', 't', { size: 11 })
    expect(enacted).toMatchObject([{ decision: { allowed: false, outcome: 'reject', rule: 'r' } }])
  })

  it('waits longer if another rule refuses it, without delaying other senders', () => {
    const { clock, enacted, send } = setScene([
      slow,
      { name: 'own', rate: '1 per 10s', per: 'client', exceeded: 'throttle' },
    ])
    send('greedy', 't')
    send('greedy', 't')
    for (const client of ['b', 'c', 'd']) send(client)
    clock.advance(1_000)
    expect(enacted.map(({ client }) => client)).toEqual(['greedy', 'b', 'c', 'd'])
    clock.advance(8_999)
    expect(enacted).toHaveLength(4)
    clock.advance(1)
    expect(enacted.at(-1)).toMatchObject({ client: 'greedy', atMs: 10_000, decision: { outcome: 'deliver' } })
  })
})

describe('the order of a queue', () => {
  it('is by priority: no emergency waits behind a lower priority', () => {
    const { clock, enacted, send } = setScene([slow])
    send('a')
    const words = ['low', 'normal', 'high', 'emergency', 5, 'nonsense', Number.NaN, 1e9]
    const ids = words.map((word, index) => send('a', `t/${index}`, priority(word)))
    clock.advance(2_000)
    const [low, normal, high, emergency, five, nonsense, nan, huge] = ids
    expect(enacted.slice(1).map(({ id }) => id)).toEqual([
      ...[emergency, huge],
      ...[high, five],
      ...[normal, nonsense, nan],
      low,
    ])
  })

  it('is by arrival on one topic of a sender: older messages get the priority of the newest', () => {
    const { clock, enacted, send } = setScene([slow])
    send('a')
    const low = ['low', 'low'].map(word => send('a', 't', priority(word)))
    const normal = send('b', 't', priority('normal'))
    const emergency = send('a', 't', priority('emergency'))
    const later = send('a', 't', priority('low'))
    clock.advance(2_000)
    expect(enacted.slice(1).map(({ id }) => id)).toEqual([...low, emergency, normal, later])
  })

  it('is by priority on one topic, too, for senders without identity', () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock }).use(limit(slow))
    const guard = new Guard(gate, { holds: 'all' })
    const senderQueue = guard.senderQueue()
    const sender = {}
    const seen: string[] = []
    for (const word of ['low', 'low', 'emergency', 'high']) {
      senderQueue.admit({ topic: 't', on: 'publish', sender, size: 1, ...priority(word) }, () =>
        seen.push(word),
      )
    }
    clock.advance(1_000)
    expect(seen).toEqual(['low', 'emergency', 'high', 'low'])
    expect(guard.stats().held).toBe(0)
  })

  it('reads the priority from a header first, or from the source of the rule', () => {
    const own = { queue: { priority: { header: 'urgency' } } } as const
    for (const [exceeded, header] of [
      ['queue', 'priority'],
      [own, 'urgency'],
    ] as const) {
      const { clock, enacted, send } = setScene([{ ...slow, exceeded }])
      send('a')
      send('a')
      send('a', 'other', { headers: { [header]: 'high' }, payload: () => ({ priority: 'low' }) })
      clock.advance(1_000)
      expect(enacted.map(({ id }) => id)).toEqual([0, 2, 1])
    }
  })

  it('takes the senders of one priority in turns', () => {
    const { clock, enacted, send } = setScene([slow])
    for (const client of ['a', 'a', 'a', 'a', 'b', 'b', 'c']) send(client)
    clock.advance(1_000)
    expect(enacted.map(({ client }) => client).join('')).toBe('aabcaba')
  })

  it('is strictly by arrival with `order: arrival`', () => {
    const { clock, enacted, send } = setScene([{ ...slow, exceeded: { queue: { order: 'arrival' } } }])
    for (const client of ['a', 'a', 'a', 'b']) send(client)
    send('c', 't', priority('emergency'))
    clock.advance(1_000)
    expect(enacted.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4])
  })
})

describe('the bounds of a queue', () => {
  const bounded = (queue: object) => [{ ...slow, exceeded: { queue } }]

  it('push out the newest message of the lowest priority, with the outcome of the rule', () => {
    const { enacted, send, idsOf, guard } = setScene(bounded({ max: 3, then: 'reject' }))
    send('a')
    const [low1, low2, high] = ['low', 'low', 'high'].map((word, index) =>
      send('a', `t/${index}`, priority(word)),
    )
    const emergency = send('b', 'e', priority('emergency'))
    expect(idsOf('reject')).toEqual([low2])
    const normal = send('b', 'n', priority('normal'))
    expect(idsOf('reject')).toEqual([low2, low1])
    const late = send('b', 'l', priority('low'))
    expect(idsOf('reject')).toEqual([low2, low1, late])
    expect(guard.stats()).toMatchObject({ held: 3, heldPeak: 3, overflowed: 3 })
    expect(enacted).toHaveLength(4)
    expect([high, emergency, normal]).toHaveLength(3)
  })

  it('count bytes, including the topic', () => {
    const { send, idsOf, guard } = setScene(bounded({ bytes: 100 }))
    send('a')
    send('a', 't'.repeat(20), { size: 40 })
    send('a', 't', { size: 40 })
    send('b', 't', { size: 100 })
    expect(idsOf('drop')).toEqual([2, 3])
    expect(guard.stats()).toMatchObject({ held: 1, heldBytes: 60 })
  })

  it('refuse at once a message that would wait too long', () => {
    const { clock, enacted, send } = setScene([
      { name: 'r', rate: '1/s burst 1', exceeded: { queue: { upTo: '2500ms' } } },
    ])
    for (let index = 0; index < 5; index++) send('a')
    clock.advance(5_000)
    expect(enacted.map(({ atMs, decision }) => `${atMs} ${decision.outcome}`)).toEqual([
      ...['0 deliver', '1000 deliver', '2000 deliver', '2000 drop', '2000 drop'],
    ])
    expect(clock.pending).toBe(0)
  })

  it('limit the age, also of messages whose turn never comes', () => {
    const { clock, send, idsOf, enacted } = setScene([
      { name: 'r', rate: '10/s burst 1', exceeded: { queue: { upTo: '1050ms' } } },
    ])
    send('a')
    const low = send('a', 't', priority('low'))
    for (let ms = 0; ms < 2_000; ms += 50) {
      send('b', 't', priority('high'))
      clock.advance(50)
    }
    expect(idsOf('drop')[0]).toBe(low)
    expect(enacted.find(({ id }) => id === low)?.atMs).toBe(1_050)
  })

  it('make the sender that holds most give way', () => {
    const { clock, send, enacted } = setScene(bounded({ max: 10 }))
    for (let index = 0; index < 50; index++) send('flooder')
    for (let index = 0; index < 3; index++) send('quiet')
    clock.advance(5_000)
    const passed = enacted.filter(({ decision }) => decision.allowed)
    expect(passed.filter(({ client }) => client === 'quiet')).toHaveLength(3)
    expect(passed.filter(({ client }) => client === 'flooder')).toHaveLength(8)
  })

  it('have defaults', () => {
    const perMinute = { ...slow, rate: '1 per 4 minutes' } as const
    const many = setScene([perMinute])
    for (let index = 0; index <= MAX_SIZES.queuedPerRule + 1; index++) many.send('a')
    expect(many.guard.stats()).toMatchObject({ held: MAX_SIZES.queuedPerRule, overflowed: 1 })
    const heavy = setScene([perMinute])
    for (let index = 0; index < 6; index++)
      heavy.send('a', 't', { size: MAX_SIZES.queuedBytesPerRule / 4 - 1 })
    expect(heavy.guard.stats()).toMatchObject({ held: 4, overflowed: 1 })
    expect(heavy.guard.stats().heldBytes).toBe(MAX_SIZES.queuedBytesPerRule)
  })

  it('share the limit between 20 equal senders within a tenth, at four times the limit for 30 s', () => {
    const { clock, send, enacted, guard } = setScene([
      { name: 'r', rate: '200/s burst 20', exceeded: { queue: { max: 500, upTo: '5s' } } },
    ])
    for (let ms = 0; ms < 30_000; ms += 25) {
      for (let sender = 0; sender < 20; sender++) send(`s${sender}`)
      clock.advance(25)
      expect(guard.stats().held).toBeLessThanOrEqual(500)
    }
    const passed = new Map<string, number>()
    for (const { client, decision } of enacted) {
      if (decision.allowed) passed.set(client, (passed.get(client) ?? 0) + 1)
    }
    const counts = [...passed.values()]
    expect(counts).toHaveLength(20)
    expect(counts.reduce((a, b) => a + b)).toBe(20 + 200 * 30)
    expect(Math.max(...counts) / Math.min(...counts)).toBeLessThan(1.1)
    clock.advance(5_000)
    expect(enacted).toHaveLength(24_000)
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
    expect(guard.stats().heldPeak).toBe(500)
  })
})

describe('a detached sender queue', () => {
  it('removes messages that are not kept from the queue', () => {
    const { clock, enacted, send, senderQueueOf, guard } = setScene([slow])
    for (const client of ['a', 'a', 'b', 'a']) send(client)
    expect(senderQueueOf('a').detach(message => (message as { id?: number }).id === 3)).toBe(1)
    clock.advance(1_000)
    expect(enacted.map(({ id }) => id).sort()).toEqual([0, 2, 3])
    expect(guard.stats()).toMatchObject({ held: 0, discarded: 1 })
  })
})

describe('a guard that is closed', () => {
  it('passes the queue in order of arrival, or discards and counts it', () => {
    const passing = setScene([slow])
    for (const client of ['a', 'a', 'b']) passing.send(client)
    passing.guard.close('pass')
    expect(passing.enacted.map(({ id }) => id)).toEqual([0, 1, 2])
    expect(passing.clock.pending).toBe(0)
    const discarding = setScene([slow])
    for (const client of ['a', 'a', 'b']) discarding.send(client)
    discarding.guard.close()
    expect(discarding.enacted.map(({ id }) => id)).toEqual([0])
    expect(discarding.guard.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: 2 })
    expect(discarding.clock.pending).toBe(0)
  })
})

describe('a guard that holds throttled messages only', () => {
  it('enacts queue and latest as they were decided', () => {
    const { enacted, send } = setScene([slow], { holds: 'throttle' })
    send('a')
    send('a')
    expect(enacted.map(({ decision }) => decision.outcome)).toEqual(['deliver', 'queue'])
  })
})

describe('any history', () => {
  it('enacts each message once, keeps the order of a sender on a topic, and charges what it delivers', () => {
    const step = fc.record({
      client: fc.constantFrom('a', 'b', 'c'),
      topic: fc.constantFrom('q/1', 'q/2', 'l/1', 'l/2', 't/1'),
      word: fc.constantFrom('low', 'normal', 'emergency'),
      waitMs: fc.nat(80),
      leaves: fc.integer({ min: 0, max: 30 }).map(number => number === 0),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), steps => {
        const scene = setScene([
          { name: 'q', topic: 'q/#', rate: '20/s burst 2', exceeded: { queue: { max: 12, upTo: '2s' } } },
          { name: 'l', topic: 'l/#', rate: '10/s burst 1', per: 'client', exceeded: 'latest' },
          { name: 't', topic: 't/#', rate: '20/s burst 1', per: 'client', exceeded: 'throttle' },
          { name: 'all', rate: '30/s burst 3', exceeded: 'throttle' },
        ])
        let allowed = 0
        scene.gate.on('decision', decision => {
          if (decision.allowed) allowed++
        })
        for (const { client, topic, word, waitMs, leaves } of steps) {
          scene.send(client, topic, priority(word))
          if (leaves) scene.senderQueueOf(client).detach(() => true)
          scene.clock.advance(waitMs)
          expect(scene.guard.stats().held).toBeLessThanOrEqual(steps.length)
        }
        scene.clock.advance(60_000)
        const { enacted } = scene
        expect(enacted.map(({ id }) => id).sort((a, b) => a - b)).toEqual(steps.map((_, index) => index))
        expect(scene.guard.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: 0 })
        expect(scene.clock.pending).toBe(0)
        expect(enacted.filter(({ decision }) => decision.allowed)).toHaveLength(allowed)
        const lastOf = new Map<string, number>()
        for (const { id, decision } of enacted) {
          if (!decision.allowed) continue
          const { client, topic } = steps[id]!
          const order = `${client} ${topic}`
          expect(lastOf.get(order) ?? -1).toBeLessThan(id)
          lastOf.set(order, id)
        }
      }),
      { seed: 20_261, numRuns: 200 },
    )
  })

  it('keeps the queue within its bounds', () => {
    const chance = random(7)
    const scene = setScene([
      { name: 'q', rate: '50/s burst 5', exceeded: { queue: { max: 40, bytes: 2_000, upTo: '1s' } } },
    ])
    for (let index = 0; index < 5_000; index++) {
      scene.send(`s${chance.int(0, 30)}`, 't', { size: chance.int(1, 200), ...priority(chance.int(0, 9)) })
      const { held, heldBytes } = scene.guard.stats()
      expect(held <= 40 && heldBytes <= 2_000).toBe(true)
      if (chance.chance(0.2)) scene.clock.advance(chance.int(1, 100))
    }
    scene.clock.advance(5_000)
    expect(scene.enacted).toHaveLength(5_000)
    expect(new Set(scene.enacted.map(({ id }) => id)).size).toBe(5_000)
    expect(scene.guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
  })
})
