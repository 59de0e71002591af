import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { LimitOptions } from '../../../src/chain/rules/rule-options.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { type RedeliverySlotOptions, RedeliverySlotScheduler } from '../../../src/guard/redelivery-slots.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function setScene(rule: Partial<LimitOptions> = {}, options: RedeliverySlotOptions = {}) {
  const clock = new FakeClock()
  const gate = new Gate({ clock }).use(
    limit({ name: 'r', rate: '100/s burst 1', exceeded: 'retry', ...rule } as LimitOptions),
  )
  const redeliverySlots = new RedeliverySlotScheduler(gate, message => gate.check(message), clock, options)
  const sender = { client: 'c' }
  const message = (more: Partial<Message> = {}): Message => ({
    topic: 't',
    on: 'publish',
    sender,
    size: 1,
    ...more,
  })
  const ask = (id: string, more?: Partial<Message>) => {
    const decision = redeliverySlots.ask(message(more), id)
    if (decision instanceof Promise) throw new Error('a local gate answers at once')
    return decision
  }
  return { clock, gate, redeliverySlots, ask }
}

describe('a message that is sent back', () => {
  it('gets a slot of its own, spaced at the rate of its rule', () => {
    const { ask, redeliverySlots } = setScene()
    expect(ask('m0').allowed).toBe(true)
    expect([1, 2, 3].map(id => ask(`m${id}`))).toMatchObject([
      { outcome: 'retry', rule: 'r', retryAfterMs: 10 },
      { outcome: 'retry', rule: 'r', retryAfterMs: 20 },
      { outcome: 'retry', rule: 'r', retryAfterMs: 30 },
    ])
    expect(redeliverySlots.size).toBe(3)
  })

  it('passes in its slot, although other messages came before', () => {
    const { ask, clock, redeliverySlots } = setScene()
    ask('m0')
    ask('m1')
    clock.advance(10)
    // A newcomer finds a token in the bucket and does not get it: it is m1's.
    expect(ask('new')).toMatchObject({ outcome: 'retry', retryAfterMs: 10 })
    expect(ask('m1').allowed).toBe(true)
    clock.advance(10)
    expect(ask('new').allowed).toBe(true)
    expect(redeliverySlots.size).toBe(0)
  })

  it('keeps its slot if it comes back too early', () => {
    const { ask, clock } = setScene()
    ask('m0')
    ask('m1')
    ask('m2')
    clock.advance(3)
    expect(ask('m2')).toMatchObject({ outcome: 'retry', retryAfterMs: 17 })
    clock.advance(17)
    expect(ask('m2').allowed).toBe(true)
  })

  it('is delivered at most twice, in order, in a backlog of 500 at 100/s', () => {
    const { ask, clock } = setScene()
    let deliveries = 0
    const passed: number[] = []
    const due: { readonly id: number; readonly atMs: number }[] = []
    const deliver = (id: number): void => {
      deliveries++
      const decision = ask(`m${id}`)
      if (decision.allowed) passed.push(id)
      else due.push({ id, atMs: clock.now() + decision.retryAfterMs })
    }
    for (let id = 0; id < 500; id++) deliver(id)
    for (let ms = 0; ms < 10_000 && due.length > 0; ms++) {
      clock.advance(1)
      for (const { id } of due.filter(({ atMs }) => atMs <= clock.now())) {
        due.splice(
          due.findIndex(each => each.id === id),
          1,
        )
        deliver(id)
      }
    }
    expect(passed).toEqual(Array.from({ length: 500 }, (_, id) => id))
    expect(deliveries).toBe(999)
  })

  it('delays no message of another key or of another rule', () => {
    const { ask, gate } = setScene({ per: 'client' })
    gate.use('free', limit({ name: 'other', rate: '100/s', exceeded: 'retry' }))
    ask('m0')
    ask('m1')
    expect(ask('m2', { sender: { client: 'other' } }).allowed).toBe(true)
    expect(ask('m3', { on: 'subscribe' }).allowed).toBe(true)
  })

  it('waits by its bytes under a rule in bytes', () => {
    const { ask } = setScene({ rate: '1000B/s burst 100' })
    expect(ask('m0', { size: 100 }).allowed).toBe(true)
    expect(ask('m1', { size: 50 }).retryAfterMs).toBe(50)
    expect(ask('m2', { size: 100 }).retryAfterMs).toBe(150)
  })

  it('loses its slot if it is forgotten or does not come back in time', () => {
    const { ask, clock, redeliverySlots } = setScene({}, { lateMs: 1_000 })
    ask('m0')
    ask('m1')
    redeliverySlots.forget('m1')
    redeliverySlots.forget('unknown')
    expect(redeliverySlots.size).toBe(0)
    ask('m2')
    clock.advance(1_011)
    expect(ask('m3').allowed).toBe(true)
    expect(redeliverySlots.size).toBe(0)
  })

  it("gets the gate's own time beyond the bound", () => {
    const { ask, redeliverySlots } = setScene({}, { max: 2 })
    ask('m0')
    expect([1, 2, 3, 4].map(id => ask(`m${id}`).retryAfterMs)).toEqual([10, 20, 10, 10])
    expect(redeliverySlots.size).toBe(2)
    const house = setScene({ rate: '1/hour burst 1' })
    for (let id = 0; id <= MAX_SIZES.redeliverySlots + 5; id++) house.ask(`m${id}`)
    expect(house.redeliverySlots.size).toBe(MAX_SIZES.redeliverySlots)
  })

  it('gets no slot under a rule with another outcome', () => {
    const { ask, redeliverySlots } = setScene({ exceeded: 'drop' })
    ask('m0')
    expect(ask('m1').outcome).toBe('drop')
    expect(redeliverySlots.size).toBe(0)
  })
})
