import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A gate whose answers come a turn later, as those of a distant store. */
function setFarScene(exceeded: 'queue' | 'latest' | 'throttle', rate = '10/s burst 1') {
  const clock = new FakeClock()
  const gate = new Gate({ clock })
  gate.use('t', limit({ name: 'r', rate, exceeded }))
  let asked = 0
  const far = {
    clock,
    check: async (message: Message) => {
      asked++
      return gate.check(message)
    },
    ruleOf: (name: string) => gate.ruleOf(name),
    keyOf: (rule: string, message: Message) => gate.keyOf(rule, message),
    peek: async (message: Message) => gate.peek(message),
  }
  const guard = new Guard(far, { holds: 'all' })
  const senderQueue = guard.senderQueue()
  const enacted: string[] = []
  const sender = { client: 'c' }
  const send = (id: string, topic = 't') =>
    senderQueue.admit({ topic, on: 'publish', sender, size: 1, payload: () => id }, (decision, m) => {
      enacted.push(`${String(m.payload?.())} ${decision.outcome}`)
    })
  return { clock, guard, senderQueue, send, enacted, asked: () => asked }
}

describe('a gate that answers later', () => {
  it('is asked about one queued message at a time, and each is enacted once, in order', async () => {
    const { clock, guard, send, enacted } = setFarScene('queue')
    for (const id of ['a', 'b', 'c', 'd']) {
      send(id)
      await clock.advanceAsync(0)
    }
    expect(enacted).toEqual(['a deliver'])
    await clock.advanceAsync(1_000)
    expect(enacted).toEqual(['a deliver', 'b deliver', 'c deliver', 'd deliver'])
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, overflowed: 0, fallbacks: 0 })
  })

  it('does not supersede the message that is being decided: it passes, and the newest after it', async () => {
    const { clock, send, enacted } = setFarScene('latest')
    for (const id of ['a', 'b']) {
      send(id)
      await clock.advanceAsync(0)
    }
    // The timer fires, the question about b is under way.
    clock.advance(100)
    send('c')
    send('d')
    await clock.advanceAsync(0)
    await clock.advanceAsync(1_000)
    expect(enacted).toEqual(['a deliver', 'c drop', 'b deliver', 'd deliver'])
  })

  it('lets messages pass from behind throttled ones when holding ends, and none wait', async () => {
    const { clock, guard, senderQueue, send, enacted } = setFarScene('throttle', '1/s burst 1')
    for (const [id, topic] of ['t', 't', 'free', 't', 'free'].entries()) send(String(id), topic)
    await clock.advanceAsync(10)
    expect(enacted).toEqual(['0 deliver'])
    senderQueue.endHolding()
    await clock.advanceAsync(0)
    expect(enacted).toEqual(['0 deliver', '2 deliver', '4 deliver'])
    for (const [id, topic] of ['t', 'free'].entries()) send(`later ${id}`, topic)
    await clock.advanceAsync(0)
    expect(enacted.slice(3)).toEqual(['later 1 deliver'])
    expect(senderQueue.pending).toBe(0)
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: 3 })
  })

  it('releases the queue by the fallback if the gate fails', async () => {
    const clock = new FakeClock()
    let broken = false
    const guard = new Guard(
      {
        clock,
        check: () => {
          if (broken) throw new Error('away')
          return { allowed: false, outcome: 'queue', reason: 'rate_limit_exceeded', retryAfterMs: 50 }
        },
      },
      { holds: 'all', middlewareFallback: 'deny' },
    )
    const enacted: string[] = []
    guard.senderQueue().admit({ topic: 't', on: 'publish', sender: {}, size: 1 }, decision => {
      enacted.push(`${decision.outcome} ${decision.reason}`)
    })
    broken = true
    clock.advance(50)
    expect(enacted).toEqual(['reject store_unavailable'])
    expect(clock.pending).toBe(0)
  })
})

describe('an enactment that throws', () => {
  it('does not block the messages behind it in the queue', () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock })
    gate.use(limit({ name: 'r', rate: '10/s burst 1', exceeded: 'queue' }))
    const guard = new Guard(gate, { holds: 'all' })
    const senderQueue = guard.senderQueue()
    const sender = { client: 'c' }
    const passed: number[] = []
    for (let id = 0; id < 4; id++) {
      senderQueue.admit({ topic: 't', on: 'publish', sender, size: 1 }, () => {
        if (id === 1) throw new Error('broken listener')
        passed.push(id)
      })
    }
    expect(() => clock.advance(100)).toThrow('broken listener')
    clock.advance(1_000)
    expect(passed).toEqual([0, 2, 3])
    expect(guard.stats().held).toBe(0)
  })
})
