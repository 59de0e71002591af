import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Clock } from '../../../src/core/clock.ts'
import type { Decision } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { MaybePromise, Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import type { GuardOptions } from '../../../src/guard/guard.ts'
import { Guard } from '../../../src/guard/guard.ts'

const OK: Decision = { allowed: true, outcome: 'deliver', reason: 'ok', retryAfterMs: 0 }
const DROP: Decision = {
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  rule: 'r',
  retryAfterMs: 10,
}

function throttle(retryAfterMs: number): Decision {
  return { allowed: false, outcome: 'throttle', reason: 'rate_limit_exceeded', rule: 'r', retryAfterMs }
}

class HandClock implements Clock {
  ms = 1_000_000
  readonly #timers = new Set<{ readonly atMs: number; readonly run: () => void }>()
  get timers(): readonly { readonly atMs: number; readonly run: () => void }[] {
    return [...this.#timers]
  }
  now(): number {
    return this.ms
  }
  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.ms + ms, run }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }
  /** Moves on, running what falls due in order. */
  advance(ms: number): void {
    const end = this.ms + ms
    for (;;) {
      const due = this.timers.filter(timer => timer.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0]
      if (!due) break
      this.#timers.delete(due)
      this.ms = Math.max(this.ms, due.atMs)
      due.run()
    }
    this.ms = end
  }
}

const sender = { client: 'c' }
function message(topic: string, size = 10): Message {
  return { topic, on: 'publish', sender, size }
}

/** A gate that lets `count` messages pass each second, bucket of `count`, and counts what it charged. */
class Bucket {
  charged = 0
  tokens: number
  #atMs: number
  readonly clock: HandClock
  readonly #intervalMs: number
  readonly #burst: number
  constructor(clock: HandClock, intervalMs: number, burst: number) {
    this.clock = clock
    this.#intervalMs = intervalMs
    this.#burst = burst
    this.tokens = burst
    this.#atMs = clock.now()
  }
  check(): Decision {
    const gained = Math.floor((this.clock.now() - this.#atMs) / this.#intervalMs)
    this.#atMs += gained * this.#intervalMs
    this.tokens = Math.min(this.#burst, this.tokens + gained)
    if (this.tokens === 0) return throttle(this.#atMs + this.#intervalMs - this.clock.now())
    this.tokens--
    this.charged++
    return OK
  }
}

function setUp(check: (m: Message) => MaybePromise<Decision>, options: GuardOptions = {}) {
  const clock = new HandClock()
  const guard = new Guard({ check, clock }, options)
  const enacted: string[] = []
  const enact = (decision: Decision, m: Message) => {
    enacted.push(`${m.topic} ${decision.outcome}`)
  }
  return { clock, guard, enacted, enact }
}

async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve()
}

describe('a message that may pass', () => {
  it('is enacted at once, without a timer', () => {
    const { clock, guard, enacted, enact } = setUp(() => OK)
    guard.senderQueue().admit(message('a'), enact)
    expect(enacted).toEqual(['a deliver'])
    expect(clock.timers).toEqual([])
    expect(guard.stats().heldPeak).toBe(0)
  })
  it('is enacted at once, as is one that is dropped', () => {
    const { guard, enacted, enact } = setUp(m => (m.topic === 'a' ? OK : DROP))
    const senderQueue = guard.senderQueue()
    senderQueue.admit(message('a'), enact)
    senderQueue.admit(message('b'), enact)
    expect(enacted).toEqual(['a deliver', 'b drop'])
  })
})

describe('a throttled message', () => {
  it('waits with all later messages of its sender, and each is charged once, in order', () => {
    const clock = new HandClock()
    const bucket = new Bucket(clock, 100, 2)
    const guard = new Guard(bucket)
    const senderQueue = guard.senderQueue()
    const passed: { topic: string; atMs: number }[] = []
    for (let i = 0; i < 6; i++) {
      senderQueue.admit(message(`m${i}`), (decision, m) => {
        expect(decision.allowed).toBe(true)
        passed.push({ topic: m.topic, atMs: clock.now() - 1_000_000 })
      })
    }
    expect(passed.map(p => p.topic)).toEqual(['m0', 'm1'])
    expect(clock.timers).toHaveLength(1)
    clock.advance(1_000)
    expect(passed).toEqual([
      { topic: 'm0', atMs: 0 },
      { topic: 'm1', atMs: 0 },
      { topic: 'm2', atMs: 100 },
      { topic: 'm3', atMs: 200 },
      { topic: 'm4', atMs: 300 },
      { topic: 'm5', atMs: 400 },
    ])
    expect(bucket.charged).toBe(6)
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, heldPeak: 4 })
    expect(clock.timers).toEqual([])
  })

  it('does not hold back another sender', () => {
    const { guard, enacted, enact } = setUp(m => (m.topic === 'slow' ? throttle(50) : OK))
    guard.senderQueue().admit(message('slow'), enact)
    guard.senderQueue().admit(message('quick'), enact)
    expect(enacted).toEqual(['quick deliver'])
  })

  it('pauses its connection once, and resumes it when the last message has passed', () => {
    const clock = new HandClock()
    const guard = new Guard(new Bucket(clock, 100, 1))
    const calls: string[] = []
    const senderQueue = guard.senderQueue({
      onPause: () => calls.push('hold'),
      onResume: () => calls.push('free'),
    })
    for (let i = 0; i < 4; i++) senderQueue.admit(message('m'), () => {})
    expect(calls).toEqual(['hold'])
    clock.advance(299)
    expect(calls).toEqual(['hold'])
    clock.advance(1)
    expect(calls).toEqual(['hold', 'free'])
  })

  it('is refused at once if it can never pass, and blocks no other message', () => {
    const { guard, enacted, enact } = setUp(m => (m.topic === 'never' ? throttle(Infinity) : OK))
    const senderQueue = guard.senderQueue()
    senderQueue.admit(message('never'), enact)
    senderQueue.admit(message('next'), enact)
    expect(enacted).toEqual(['never drop', 'next deliver'])
    expect(guard.stats()).toMatchObject({ overflowed: 1, held: 0 })
  })

  it('is refused with its rule if it would wait longer than the longest hold', () => {
    const clock = new HandClock()
    let wait = 400
    const guard = new Guard(
      { check: () => throttle(wait), clock },
      { maxHoldMs: 1_000, overflow: 'disconnect' },
    )
    const seen: Decision[] = []
    guard.senderQueue().admit(message('m'), decision => seen.push(decision))
    clock.advance(400)
    expect(seen).toEqual([])
    wait = 601
    clock.advance(400)
    expect(seen).toMatchObject([{ allowed: false, outcome: 'disconnect', rule: 'r', retryAfterMs: 601 }])
  })

  it('is held up to the time of its rule, and then gets the outcome of the rule', () => {
    const clock = new HandClock()
    const gate = new Gate({ clock })
    const exceeded = { throttle: { upTo: '500ms', then: 'disconnect' } } as const
    gate.use('short', limit({ name: 'short', rate: '1 per 1s', exceeded }))
    gate.use('long', limit({ name: 'long', rate: '1 per 1s', exceeded: 'throttle' }))
    const guard = new Guard(gate)
    const seen: string[] = []
    for (const topic of ['short', 'long']) {
      const senderQueue = guard.senderQueue()
      for (let index = 0; index < 2; index++) {
        senderQueue.admit(message(topic), (decision, m) => seen.push(`${m.topic} ${decision.outcome}`))
      }
    }
    expect(seen).toEqual(['short deliver', 'short disconnect', 'long deliver'])
    clock.advance(1_000)
    expect(seen.at(-1)).toBe('long deliver')
  })
})

describe('bounds', () => {
  it('refuse and count a message that finds no room in its sender queue', () => {
    const { guard, enacted, enact } = setUp(() => throttle(100), { maxHeldPerSender: 2 })
    const senderQueue = guard.senderQueue()
    for (const topic of ['a', 'b', 'c', 'd']) senderQueue.admit(message(topic), enact)
    expect(enacted).toEqual(['c drop', 'd drop'])
    expect(guard.stats()).toMatchObject({ held: 2, heldPeak: 2, overflowed: 2 })
  })
  it('count all senders together', () => {
    const { guard, enacted, enact } = setUp(() => throttle(100), { maxHeldTotal: 3 })
    for (const topic of ['a', 'b', 'c', 'd']) guard.senderQueue().admit(message(topic), enact)
    expect(enacted).toEqual(['d drop'])
  })
  it('count payload bytes, except for a single large message', () => {
    const { guard, enacted, enact } = setUp(() => throttle(100), {
      maxHeldBytesPerSender: 100,
      maxHeldBytesTotal: 350,
    })
    const senderQueue = guard.senderQueue()
    senderQueue.admit(message('large', 300), enact)
    senderQueue.admit(message('small', 1), enact)
    guard.senderQueue().admit(message('other', 51), enact)
    guard.senderQueue().admit(message('third', 300), enact)
    // Of all the room, the holder of most gives way, but not to one that would hold more.
    expect(enacted).toEqual(['small drop', 'large drop', 'third drop'])
    expect(guard.stats().heldBytes).toBe(51)
  })
  it('have defaults for messages', () => {
    const { guard, enact } = setUp(() => throttle(100))
    const senderQueue = guard.senderQueue()
    for (let i = 0; i <= MAX_SIZES.heldPerSender; i++) senderQueue.admit(message('m'), enact)
    expect(guard.stats()).toMatchObject({ held: MAX_SIZES.heldPerSender, overflowed: 1 })
    for (let sent = MAX_SIZES.heldPerSender; sent < MAX_SIZES.heldTotal; sent++) {
      guard.senderQueue().admit(message('m'), enact)
    }
    expect(guard.stats().held).toBe(MAX_SIZES.heldTotal)
    guard.senderQueue().admit(message('m'), enact)
    expect(guard.stats()).toMatchObject({ held: MAX_SIZES.heldTotal, overflowed: 2 })
    guard.close()
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: MAX_SIZES.heldTotal })
  })
  it('have defaults for bytes', () => {
    const { guard, enact } = setUp(() => throttle(100))
    const half = MAX_SIZES.heldBytesPerSender / 2
    const senderQueue = guard.senderQueue()
    for (let i = 0; i < 3; i++) senderQueue.admit(message('m', half), enact)
    expect(guard.stats()).toMatchObject({ held: 2, overflowed: 1 })
    for (let bytes = 2 * half; bytes < MAX_SIZES.heldBytesTotal; bytes += 2 * half) {
      guard.senderQueue().admit(message('m', 2 * half), enact)
    }
    expect(guard.stats().heldBytes).toBe(MAX_SIZES.heldBytesTotal)
    guard.senderQueue().admit(message('m', 1), enact)
    expect(guard.stats().overflowed).toBe(2)
  })
  it('must be whole numbers above 0', () => {
    expect(() => new Guard({ check: () => OK }, { maxHoldMs: 0 })).toThrow(
      /maxHoldMs: 0 is not a whole number above 0/,
    )
  })
})

describe('a gate that fails', () => {
  it('is replaced by the fallback, marked as such, and logged once for each cause', () => {
    const lines: object[] = []
    const logger = { debug() {}, info() {}, warn() {}, error: (fields: object) => lines.push(fields) }
    const { guard } = setUp(
      () => {
        throw new Error('broken')
      },
      { logger },
    )
    const seen: Decision[] = []
    const senderQueue = guard.senderQueue()
    for (let i = 0; i < 3; i++) senderQueue.admit(message('m'), decision => seen.push(decision))
    expect(seen).toHaveLength(3)
    expect(seen[0]).toMatchObject({ allowed: true, reason: 'store_unavailable', fallback: true })
    expect(lines).toHaveLength(1)
    expect(guard.stats().fallbacks).toBe(3)
  })
  it('leads to a refusal if the fallback is deny', async () => {
    const { guard } = setUp(() => Promise.reject(new Error('away')), { middlewareFallback: 'deny' })
    const seen: Decision[] = []
    guard.senderQueue().admit(message('m'), decision => seen.push(decision))
    await turns()
    expect(seen).toMatchObject([{ allowed: false, reason: 'store_unavailable', fallback: true }])
  })
  it('may throw a value that is not an error', () => {
    const hostile = {
      toString() {
        throw new Error('no')
      },
    }
    const logger = { debug() {}, info() {}, warn() {}, error() {} }
    const { guard, enacted, enact } = setUp(
      () => {
        throw hostile
      },
      { logger },
    )
    guard.senderQueue().admit(message('m'), enact)
    expect(enacted).toEqual(['m deliver'])
  })
  it('is replaced by the fallback if it is late, and its late answer is ignored', async () => {
    let answer: (decision: Decision) => void = () => {}
    const { clock, guard, enacted, enact } = setUp(() => new Promise(resolve => (answer = resolve)), {
      decideTimeoutMs: 100,
    })
    guard.senderQueue().admit(message('m'), enact)
    clock.advance(100)
    await turns()
    expect(enacted).toEqual(['m deliver'])
    answer(DROP)
    await turns()
    expect(enacted).toEqual(['m deliver'])
    expect(guard.stats()).toMatchObject({ timeouts: 1, fallbacks: 1, held: 0 })
    expect(clock.timers).toEqual([])
  })
})

describe('answers that come later', () => {
  it('are enacted in the order of the messages, in whatever order they arrive', async () => {
    const answers: ((decision: Decision) => void)[] = []
    const { guard, enacted, enact } = setUp(() => new Promise(resolve => answers.push(resolve)))
    const senderQueue = guard.senderQueue()
    for (const topic of ['a', 'b', 'c']) senderQueue.admit(message(topic), enact)
    expect(answers).toHaveLength(3)
    answers[2]!(OK)
    answers[1]!(DROP)
    await turns()
    expect(enacted).toEqual([])
    answers[0]!(OK)
    await turns()
    expect(enacted).toEqual(['a deliver', 'b drop', 'c deliver'])
  })
  it('are requested ahead only up to a bound', () => {
    let asked = 0
    const { guard, enact } = setUp(() => {
      asked++
      return new Promise(() => {})
    })
    const senderQueue = guard.senderQueue()
    for (let i = 0; i < 500; i++) senderQueue.admit(message('m'), enact)
    expect(asked).toBe(32)
  })
  it('are requested again in turn if they throttle a message behind the first', async () => {
    const asked: string[] = []
    const answers: ((decision: Decision) => void)[] = []
    const { guard, enacted, enact } = setUp(m => {
      asked.push(m.topic)
      return new Promise(resolve => answers.push(resolve))
    })
    const senderQueue = guard.senderQueue()
    for (const topic of ['a', 'b', 'c', 'd']) senderQueue.admit(message(topic), enact)
    answers[1]!(throttle(60_000))
    await turns()
    senderQueue.admit(message('e'), enact)
    expect(asked).toEqual(['a', 'b', 'c', 'd'])
    answers[2]!(OK)
    answers[3]!(OK)
    answers[0]!(OK)
    await turns()
    expect(asked).toEqual(['a', 'b', 'c', 'd', 'b', 'e'])
    answers[4]!(OK)
    answers[5]!(DROP)
    await turns()
    expect(enacted).toEqual(['a deliver', 'b deliver', 'c deliver', 'd deliver', 'e drop'])
  })
})

describe('a detached sender queue', () => {
  it('discards messages that are not kept, and the others pass in order', () => {
    const clock = new HandClock()
    const bucket = new Bucket(clock, 100, 1)
    const guard = new Guard(bucket)
    const calls: string[] = []
    const senderQueue = guard.senderQueue({
      onPause: () => calls.push('hold'),
      onResume: () => calls.push('free'),
    })
    const enacted: string[] = []
    for (const topic of ['now', 'k1', 'x1', 'k2', 'x2'])
      senderQueue.admit(message(topic), (_, m) => enacted.push(m.topic))
    expect(senderQueue.detach(m => m.topic.startsWith('k'))).toBe(2)
    clock.advance(1_000)
    expect(enacted).toEqual(['now', 'k1', 'k2'])
    expect(bucket.charged).toBe(3)
    expect(calls).toEqual(['hold'])
    expect(guard.stats()).toMatchObject({ held: 0, discarded: 2 })
  })
  it('counts the messages of its connection if that is attached again, and lets it read when they have passed', () => {
    const clock = new HandClock()
    const guard = new Guard(new Bucket(clock, 100, 1))
    const calls: string[] = []
    const hooks = { onPause: () => calls.push('hold'), onResume: () => calls.push('free') }
    const senderQueue = guard.senderQueue(hooks)
    for (const topic of ['now', 'k1', 'x1', 'k2']) senderQueue.admit(message(topic), () => {})
    senderQueue.detach(m => m.topic.startsWith('k'))
    senderQueue.attach(hooks)
    expect(senderQueue.heldOwn).toBe(2)
    senderQueue.admit(message('k3'), () => {})
    clock.advance(1_000)
    expect([senderQueue.heldOwn, senderQueue.held]).toEqual([0, 0])
    expect(calls).toEqual(['hold', 'hold', 'free'])
  })

  it('does not count the messages of an earlier connection', () => {
    const clock = new HandClock()
    const guard = new Guard(new Bucket(clock, 100, 1))
    const senderQueue = guard.senderQueue({})
    for (const topic of ['now', 'k1', 'k2']) senderQueue.admit(message(topic), () => {})
    senderQueue.detach(() => true)
    senderQueue.attach({})
    expect([senderQueue.heldOwn, senderQueue.held]).toEqual([0, 2])
    clock.advance(1_000)
    expect([senderQueue.heldOwn, senderQueue.held]).toEqual([0, 0])
  })

  it('does not enact a message whose answer comes later', async () => {
    let answer: (decision: Decision) => void = () => {}
    const { guard, enacted, enact } = setUp(() => new Promise(resolve => (answer = resolve)))
    const senderQueue = guard.senderQueue()
    senderQueue.admit(message('m'), enact)
    expect(senderQueue.detach()).toBe(1)
    answer(OK)
    await turns()
    expect(enacted).toEqual([])
  })

  it('does not ask again about messages that were already decided', async () => {
    const asked: string[] = []
    const { guard, enacted, enact } = setUp(async ({ topic }) => {
      asked.push(topic)
      await turns(topic === 'first' ? 20 : 2)
      return topic === 'second' && asked.filter(each => each === topic).length === 1 ? throttle(10) : OK
    })
    const senderQueue = guard.senderQueue()
    for (const topic of ['first', 'second', 'third']) senderQueue.admit(message(topic), enact)
    await turns(10)
    senderQueue.detach(() => true)
    await turns(60)
    expect(enacted).toHaveLength(3)
    expect(asked).toEqual(['first', 'second', 'third', 'second'])
  })
})

describe('a closed guard', () => {
  it('discards and counts held messages, and refuses later ones', () => {
    const { clock, guard, enacted, enact } = setUp(() => throttle(100))
    const senderQueue = guard.senderQueue()
    senderQueue.admit(message('a'), enact)
    senderQueue.admit(message('b'), enact)
    guard.close()
    expect(enacted).toEqual([])
    expect(clock.timers).toEqual([])
    expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: 2 })
    senderQueue.admit(message('c'), enact)
    expect(enacted).toEqual(['c reject'])
  })
  it('lets held messages pass in order with `pass`', () => {
    const { guard, enacted, enact } = setUp(() => throttle(100))
    const senderQueue = guard.senderQueue()
    senderQueue.admit(message('a'), enact)
    senderQueue.admit(message('b'), enact)
    guard.close('pass')
    expect(enacted).toEqual(['a deliver', 'b deliver'])
    expect(guard.stats()).toMatchObject({ held: 0, discarded: 0 })
  })
})

describe('an enactment that throws', () => {
  it('does not block the messages behind it', () => {
    const clock = new HandClock()
    const guard = new Guard(new Bucket(clock, 100, 1))
    const senderQueue = guard.senderQueue()
    const enacted: string[] = []
    senderQueue.admit(message('a'), () => {})
    senderQueue.admit(message('b'), () => {
      throw new Error('broken listener')
    })
    senderQueue.admit(message('c'), (_, m) => enacted.push(m.topic))
    expect(() => clock.advance(100)).toThrow('broken listener')
    clock.advance(200)
    expect(enacted).toEqual(['c'])
  })
})

describe('any history', () => {
  it('enacts every message exactly once, each sender in order, and leaves nothing held', async () => {
    const step = fc.record({ senderQueue: fc.nat(2), waitMs: fc.nat(60), later: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        const clock = new HandClock()
        const bucket = new Bucket(clock, 25, 3)
        const guard = new Guard({
          clock,
          check: m => (m.size === 2 ? Promise.resolve().then(() => bucket.check()) : bucket.check()),
        })
        const senderQueues = [guard.senderQueue(), guard.senderQueue(), guard.senderQueue()]
        const seen: number[][] = [[], [], []]
        for (const [index, { senderQueue, waitMs, later }] of steps.entries()) {
          senderQueues[senderQueue]!.admit(message(String(index), later ? 2 : 1), (_, m) =>
            seen[senderQueue]!.push(Number(m.topic)),
          )
          await turns(2)
          clock.advance(waitMs)
        }
        for (let i = 0; i < 200 && guard.stats().held > 0; i++) {
          await turns(8)
          clock.advance(25)
        }
        expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0, discarded: 0, overflowed: 0 })
        expect(bucket.charged).toBe(steps.length)
        for (const [senderQueue, topics] of seen.entries()) {
          const sent = steps.flatMap((s, index) => (s.senderQueue === senderQueue ? [index] : []))
          expect(topics).toEqual(sent)
        }
      }),
      { seed: 20_260, numRuns: 150 },
    )
  })
})
