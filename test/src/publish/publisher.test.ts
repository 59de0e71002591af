import { describe, expect, it } from 'vitest'
import type { Decision } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { circuitBreaker, Gate, type Logger, limit, type Middleware, StoreError } from '../../../src/index.ts'
import { createPublisher } from '../../../src/publish/create-publisher.ts'
import type { PublisherOptions, PublishRate } from '../../../src/publish/options.ts'
import { OutgoingMessage } from '../../../src/publish/outgoing-message.ts'
import {
  parsePublishQueueOptions,
  type QueuedPublishOptions,
} from '../../../src/publish/per-message-publish-options.ts'
import type { Published, PublishQueueOptions, SendFailure } from '../../../src/publish/types.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A store that has something to forget sweeps as long as it is open. */
const STORES_OWN = 1

interface Trial {
  readonly clock: FakeClock
  readonly sent: string[]
  readonly results: Map<string, Published>
  readonly parts: ReturnType<typeof createPublisher<undefined>>
  ready: boolean
  /** The client was ended. */
  ended: boolean
  /** Most under way. */
  room: number
  /** What each sent message is answered; the default answers at once and well. */
  answer: (text: string, settle: (failure?: SendFailure) => void) => void
  publish(topic: string, text: string, wishes?: QueuedPublishOptions): void
  /** Resolves after the promises of ended messages. */
  promisesResolved(): Promise<void>
}

/** Keeps the texts of errors that are logged. */
function loggerOf(logged: unknown[]): Logger {
  const ignore = (): void => {}
  return {
    debug: ignore,
    info: ignore,
    warn: ignore,
    error: (_facts: object, text?: string) => void logged.push(text),
  }
}

function open(limits: PublishRate | readonly Middleware[], options: PublisherOptions = {}): Trial {
  const clock = new FakeClock()
  const gate = 'rate' in limits ? limits : new Gate({ clock })
  if (gate instanceof Gate) for (const rule of limits as readonly Middleware[]) gate.use(rule)
  const underWay = new Set<(failure?: SendFailure) => void>()
  const trial: Trial = {
    clock,
    sent: [],
    results: new Map(),
    ready: true,
    ended: false,
    room: Infinity,
    answer: (_text, settle) => settle(),
    parts: createPublisher<undefined>(
      gate,
      'mqtt',
      { clock, ...options },
      { client: 'c' },
      {
        isReady: () => trial.ready,
        isEnded: () => trial.ended,
        failAll: error => {
          for (const done of [...underWay]) done({ error, slowDown: false })
        },
        hasRoom: () => underWay.size < trial.room,
        send: (message, _cargo, _decision: Decision, settle) => {
          const text = String((message as OutgoingMessage).body)
          trial.sent.push(`${message.topic} ${text}`)
          const done = (failure?: SendFailure): void => {
            if (underWay.delete(done)) settle(failure)
          }
          underWay.add(done)
          trial.answer(text, done)
        },
      },
    ),
    publish: (topic, text, wishes = {}) => {
      const { sender, publisher } = trial.parts
      const message = new OutgoingMessage({ protocol: 'mqtt', topic, sender, body: text })
      void publisher
        .publish(message, undefined, parsePublishQueueOptions(wishes) as PublishQueueOptions)
        .then(end => trial.results.set(`${topic} ${text}`, end))
    },
    promisesResolved: () => new Promise(resolve => setImmediate(resolve)),
  }
  return trial
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))

describe('a publisher', () => {
  it('sends at its rate, in order, and reports how long each message waited', async () => {
    const trial = open({ rate: '10/s burst 2' })
    for (const text of numbers(5)) trial.publish('t', text)
    expect(trial.sent).toEqual(['t 0', 't 1'])
    trial.clock.advance(99)
    expect(trial.sent).toHaveLength(2)
    trial.clock.advance(1)
    expect(trial.sent).toHaveLength(3)
    trial.clock.advance(200)
    expect(trial.sent).toEqual(numbers(5).map(text => `t ${text}`))
    await trial.promisesResolved()
    expect([...trial.results.values()].map(({ outcome, waitedMs }) => `${outcome} ${waitedMs}`)).toEqual([
      ...['sent 0', 'sent 0', 'sent 100', 'sent 200', 'sent 300'],
    ])
    expect(trial.clock.pending).toBe(STORES_OWN)
  })

  it('counts bytes if the rate is in bytes', () => {
    const trial = open({ rate: '10B/s' })
    trial.publish('t', '1234567890')
    trial.publish('t', '12345')
    expect(trial.sent).toHaveLength(1)
    trial.clock.advance(499)
    expect(trial.sent).toHaveLength(1)
    trial.clock.advance(1)
    expect(trial.sent).toHaveLength(2)
  })

  it('holds messages without a connection, and then sends them at the rate', () => {
    const trial = open({ rate: '10/s burst 3' })
    trial.ready = false
    for (const text of numbers(10)) trial.publish('t', text)
    trial.clock.advance(60_000)
    expect(trial.sent).toHaveLength(0)
    trial.ready = true
    trial.parts.publisher.pump()
    expect(trial.sent).toHaveLength(3)
    trial.clock.advance(700)
    expect(trial.sent).toHaveLength(10)
  })

  it('has no more messages in flight than the client has room for', () => {
    const trial = open({ rate: 'unlimited' })
    trial.room = 3
    const waiting: (() => void)[] = []
    trial.answer = (_text, settle) => void waiting.push(settle)
    for (const text of numbers(10)) trial.publish('t', text)
    expect(trial.sent).toHaveLength(3)
    while (waiting.length > 0) {
      waiting.shift()!()
      expect(trial.parts.publisher.stats().underWay).toBeLessThanOrEqual(3)
    }
    expect(trial.sent).toHaveLength(10)
    expect(trial.parts.publisher.stats()).toMatchObject({ underWayPeak: 3, sent: 10, waiting: 0 })
  })

  it('sends the highest priority first, and keeps the order of each rank', () => {
    const trial = open({ rate: '1/s' })
    trial.publish('t', 'first')
    for (const priority of ['low', 'normal', 'emergency', 'high', 'low', 9] as const)
      trial.publish('t', String(priority), { priority })
    trial.clock.advance(10_000)
    expect(trial.sent).toEqual(
      ['first', 'emergency', '9', 'high', 'normal', 'low', 'low'].map(text => `t ${text}`),
    )
  })

  it('keeps only the newest `latest` message of a topic: the first passes, the last is never lost', async () => {
    const trial = open({ rate: '1/s' })
    for (const text of numbers(50)) trial.publish('state', text, { latest: true })
    trial.publish('other', 'x')
    trial.clock.advance(5_000)
    expect(trial.sent).toEqual(['state 0', 'state 49', 'other x'])
    await trial.promisesResolved()
    expect(trial.results.get('state 20')).toMatchObject({
      outcome: 'dropped',
      why: 'superseded',
      attempts: 0,
    })
    expect(trial.parts.publisher.stats()).toMatchObject({ sent: 3, dropped: 48, waiting: 0, waitingBytes: 0 })
  })

  it.each([5, 1])('supersedes only `latest` messages, here every %dth', async every => {
    const trial = open({ rate: '10/h burst 1' })
    trial.publish('f', 'first')
    for (const text of numbers(20)) trial.publish('t', text, { latest: Number(text) % every === 0 })
    await trial.promisesResolved()
    const gone = [...trial.results].filter(([, { why }]) => why === 'superseded').map(([name]) => name)
    expect(gone).toEqual(
      numbers(20)
        .filter(text => Number(text) % every === 0)
        .slice(0, -1)
        .map(text => `t ${text}`),
    )
    expect(trial.parts.publisher.stats().waiting).toBe(20 - gone.length)
  })

  it('gives a message the priority of the one it supersedes if that is higher', async () => {
    const trial = open({ rate: '1/s' })
    trial.publish('f', 'first')
    trial.publish('t', 'low', { latest: true, priority: 'low' })
    trial.publish('n', 'normal')
    trial.publish('t', 'fire', { latest: true, priority: 'emergency' })
    trial.publish('u', 'fire', { latest: true, priority: 'emergency' })
    trial.publish('u', 'low', { latest: true, priority: 'low' })
    trial.clock.advance(10_000)
    expect(trial.sent).toEqual(['f first', 't fire', 'u low', 'n normal'])
    await trial.promisesResolved()
    expect(trial.results.get('u fire')).toMatchObject({ outcome: 'dropped', why: 'superseded' })
    expect(trial.parts.publisher.stats()).toMatchObject({ waiting: 0, waitingBytes: 0, sent: 4, dropped: 2 })
  })

  it('sends no older `latest` message after a newer one of its topic, and loses no other message', async () => {
    const trial = open({ rate: '1/s' })
    trial.publish('f', 'first')
    trial.publish('t', 'state', { latest: true, priority: 'low' })
    trial.publish('t', 'alarm 1', { priority: 'emergency' })
    trial.publish('t', 'alarm 2', { priority: 'emergency' })
    trial.publish('t', 'newer state', { latest: true, priority: 'low' })
    trial.clock.advance(1_000)
    await trial.promisesResolved()
    expect(trial.results.get('t state')).toMatchObject({ why: 'superseded' })
    trial.clock.advance(10_000)
    expect(trial.sent).toEqual(['f first', 't alarm 1', 't alarm 2', 't newer state'])
  })

  it('does not send a refused `latest` message again after a newer one of its topic', async () => {
    const trial = open({ rate: 'unlimited' })
    const settles: ((failure?: SendFailure) => void)[] = []
    trial.answer = (_text, settle) => void settles.push(settle)
    trial.publish('t', 'state', { latest: true })
    trial.publish('t', 'alarm')
    settles[1]!()
    settles[0]!({ error: new Error('too much'), slowDown: true })
    trial.clock.advance(60_000)
    await trial.promisesResolved()
    expect(trial.sent).toEqual(['t state', 't alarm'])
    expect(trial.results.get('t state')).toMatchObject({ outcome: 'dropped', why: 'superseded' })
  })

  it('keeps the newest message under a `latest` rule, also offline, with the higher priority of both', async () => {
    const trial = open([
      limit({ name: 'a', rate: '1/s', per: 'topic', exceeded: 'latest' }),
      limit({ name: 'b', rate: '1000/s' }),
    ])
    for (const text of numbers(3)) trial.publish('t', text)
    trial.ready = false
    for (const text of numbers(500)) trial.publish('t', `offline ${text}`)
    expect(trial.parts.publisher.stats().waiting).toBe(1)
    trial.ready = true
    trial.publish('t', 'urgent', { priority: 'emergency' })
    trial.clock.advance(10_000)
    expect(trial.sent).toEqual(['t 0', 't urgent'])
    await trial.promisesResolved()
    expect(trial.parts.publisher.stats()).toMatchObject({ waiting: 0, waitingBytes: 0, sent: 2 })
  })

  it('keeps the newest message under a `latest` rule', () => {
    const trial = open([limit({ name: 'r', rate: '1/s', exceeded: 'latest' })])
    for (const text of numbers(9)) trial.publish('a', text)
    for (const text of numbers(9)) trial.publish('b', text)
    trial.clock.advance(10_000)
    expect(trial.sent).toEqual(['a 0', 'a 8', 'b 8'])
  })

  it('drops the newest message of the lowest priority if the queue is full', async () => {
    const trial = open({ rate: 'unlimited' }, { maxMessages: 3 })
    trial.ready = false
    for (const text of numbers(4)) trial.publish('t', text)
    trial.publish('t', 'alarm', { priority: 'emergency' })
    await trial.promisesResolved()
    expect([...trial.results.keys()]).toEqual(['t 3', 't 2'])
    expect(trial.results.get('t 2')).toMatchObject({ outcome: 'dropped', why: 'overflow' })
    trial.ready = true
    trial.parts.publisher.pump()
    expect(trial.sent).toEqual(['t alarm', 't 0', 't 1'])
  })

  it('drops the oldest message with `overflow: oldest`, but none of a higher priority than the new one', async () => {
    const trial = open({ rate: 'unlimited' }, { maxMessages: 3, overflow: 'oldest' })
    trial.ready = false
    for (const text of numbers(5)) trial.publish('t', text)
    trial.publish('t', 'idle', { priority: 'low' })
    await trial.promisesResolved()
    expect([...trial.results.keys()]).toEqual(['t 0', 't 1', 't idle'])
    expect(trial.parts.publisher.stats().waiting).toBe(3)
  })

  it('bounds the bytes of payloads and topics', async () => {
    const trial = open({ rate: 'unlimited' }, { maxBytes: 100 })
    trial.ready = false
    trial.publish('t', 'x'.repeat(59))
    trial.publish('t', 'y'.repeat(39))
    trial.publish('t', 'z')
    trial.publish('t'.repeat(101), '')
    await trial.promisesResolved()
    expect(trial.parts.publisher.stats()).toMatchObject({ waiting: 2, waitingBytes: 100, dropped: 2 })
  })

  it('drops only messages that have waited too long', async () => {
    const trial = open({ rate: 'unlimited' }, { maxAgeMs: 1_000 })
    trial.ready = false
    trial.publish('t', 'old')
    trial.clock.advance(500)
    trial.publish('t', 'young')
    trial.publish('state', 'kept', { latest: true })
    trial.clock.advance(499)
    await trial.promisesResolved()
    expect(trial.results.size).toBe(0)
    trial.clock.advance(1)
    await trial.promisesResolved()
    expect([...trial.results]).toEqual([
      ['t old', { outcome: 'dropped', why: 'expired', attempts: 0, waitedMs: 1_000 }],
    ])
    trial.clock.advance(5_000)
    expect(trial.parts.publisher.stats()).toMatchObject({ waiting: 1, dropped: 2 })
    expect(trial.clock.pending).toBe(0)
  })

  it('sends other messages while a rule holds back a key', () => {
    const trial = open([limit({ name: 'r', rate: '1/s', per: 'topic', exceeded: 'throttle' })])
    for (const text of numbers(3)) for (const topic of ['a', 'b', 'c']) trial.publish(topic, text)
    trial.publish('d', '0')
    expect(trial.sent).toEqual(['a 0', 'b 0', 'c 0', 'd 0'])
    trial.clock.advance(1_000)
    expect(trial.sent.slice(4)).toEqual(['a 1', 'b 1', 'c 1'])
    trial.clock.advance(1_000)
    expect(trial.sent.slice(7)).toEqual(['a 2', 'b 2', 'c 2'])
    expect(trial.clock.pending).toBe(STORES_OWN)
  })

  it('bounds the number of held keys: beyond it all messages wait for the first', () => {
    const trial = open([limit({ name: 'r', rate: '1/s', per: 'topic', exceeded: 'throttle' })], {
      maxMessages: 10_000,
    })
    const topics = numbers(MAX_SIZES.partitionsPerPublisher + 5)
    for (const topic of topics) trial.publish(topic, 'first')
    for (const topic of topics) trial.publish(topic, 'second')
    expect(trial.sent).toHaveLength(topics.length)
    expect(trial.clock.pending).toBe(MAX_SIZES.partitionsPerPublisher + 1 + STORES_OWN)
    trial.clock.advance(3_000)
    expect(trial.sent).toHaveLength(2 * topics.length)
    expect(trial.clock.pending).toBe(STORES_OWN)
  })

  it('reports at once that a rule rejects, drops or can never pass a message', async () => {
    const trial = open([
      limit({ name: 'size', rate: '100/s', cost: 'bytes', exceeded: 'throttle' }),
      limit({ name: 'reject', rate: '1/s', per: 'topic', exceeded: 'reject' }),
    ])
    for (const text of ['a', 'b']) trial.publish('t', text)
    trial.publish('u', 'x'.repeat(101))
    await trial.promisesResolved()
    expect(trial.results.get('t b')).toMatchObject({ outcome: 'refused', decision: { rule: 'reject' } })
    expect([...trial.results.values()][2]).toMatchObject({
      outcome: 'dropped',
      why: 'limited',
      decision: { rule: 'size' },
    })
    expect(trial.sent).toEqual(['t a'])
  })

  it('sends refused messages again at a lower rate, which recovers', async () => {
    const trial = open({ rate: 'unlimited' }, { retries: 3 })
    let refusing = true
    trial.answer = (_text, settle) =>
      settle(refusing ? { error: new Error('quota exceeded'), slowDown: true } : undefined)
    trial.publish('t', '0')
    expect(trial.parts.publisher.stats()).toMatchObject({ slowDowns: 1, waiting: 1 })
    expect(trial.parts.publisher.stats().pacePerSecond).toBeLessThan(10_000)
    trial.clock.advance(10_000)
    await trial.promisesResolved()
    expect(trial.results.get('t 0')).toMatchObject({ outcome: 'refused', attempts: 4 })
    refusing = false
    trial.publish('t', '1')
    trial.clock.advance(10_000)
    await trial.promisesResolved()
    expect(trial.results.get('t 1')).toMatchObject({ outcome: 'sent', attempts: 1 })
    for (let second = 0; second < 120; second++) {
      trial.publish('t', `later ${second}`)
      trial.clock.advance(1_000)
    }
    expect(trial.parts.publisher.stats().pacePerSecond).toBeUndefined()
  })

  it('reports messages that the client could not send', async () => {
    const trial = open({ rate: 'unlimited' })
    const error = new Error('gone')
    trial.answer = (_text, settle) => settle({ error, slowDown: false })
    trial.publish('t', '0')
    await trial.promisesResolved()
    expect(trial.results.get('t 0')).toEqual({ outcome: 'failed', error, attempts: 1, waitedMs: 0 })
  })

  it('flushes: waits for all messages, or for a time', async () => {
    const trial = open({ rate: '1/s' })
    for (const text of numbers(4)) trial.publish('t', text)
    const short = trial.parts.publisher.flush(2_000)
    const long = trial.parts.publisher.flush()
    await trial.clock.advanceAsync(2_000)
    expect(await short).toBe(false)
    await trial.clock.advanceAsync(1_000)
    expect(await long).toBe(true)
    expect(await trial.parts.publisher.flush()).toBe(true)
  })

  it('drops waiting and later messages when it is closed, and leaves no timer', async () => {
    const trial = open([limit({ name: 'r', rate: '1/s', per: 'topic', exceeded: 'throttle' })], {
      maxAgeMs: 60_000,
    })
    for (const text of numbers(4)) trial.publish('t', text)
    trial.parts.close()
    trial.publish('t', 'late')
    await trial.promisesResolved()
    expect([...trial.results.values()].map(({ outcome, why }) => why ?? outcome)).toEqual([
      ...['sent', 'closed', 'closed', 'closed', 'closed'],
    ])
    expect(trial.parts.publisher.stats()).toMatchObject({ waiting: 0, waitingBytes: 0 })
    expect(trial.clock.pending).toBe(STORES_OWN)
  })

  it('fails messages in flight if it is closed and the client is not connected', async () => {
    const trial = open({ rate: 'unlimited' })
    trial.answer = () => {}
    trial.publish('t', 'under way')
    trial.parts.close()
    const flushed = trial.parts.publisher.flush()
    await trial.promisesResolved()
    expect(trial.results.size).toBe(0)
    trial.ready = false
    trial.parts.publisher.disconnected()
    expect(await flushed).toBe(true)
    expect(trial.results.get('t under way')).toMatchObject({ outcome: 'failed' })
  })

  it('settles all messages when its client is ended, and accepts more after a reconnect', async () => {
    const trial = open({ rate: '1/s burst 1' })
    trial.answer = () => {}
    for (const text of ['under way', 'waiting']) trial.publish('t', text)
    const flushed = trial.parts.publisher.flush()
    trial.ended = true
    trial.parts.publisher.clientEnded()
    trial.publish('t', 'late')
    expect(await flushed).toBe(true)
    expect(trial.results.get('t under way')).toMatchObject({ outcome: 'failed' })
    for (const text of ['waiting', 'late'])
      expect(trial.results.get(`t ${text}`)).toMatchObject({ outcome: 'dropped', why: 'closed' })
    trial.ended = false
    trial.answer = (_text, settle) => settle()
    trial.clock.advance(1_000)
    trial.publish('t', 'again')
    expect(trial.sent).toEqual(['t under way', 't again'])
  })

  it.each(['close', 'clientEnded'] as const)(
    'settles messages that the gate never answers: %s',
    async how => {
      const trial = open([() => new Promise<Decision>(() => {})])
      for (const text of ['asked', 'waiting']) trial.publish('t', text)
      const flushed = trial.parts.publisher.flush()
      trial.parts.publisher[how]()
      expect(await flushed).toBe(true)
      for (const text of ['asked', 'waiting'])
        expect(trial.results.get(`t ${text}`)).toMatchObject({ why: 'closed' })
    },
  )

  it('refuses messages that the gate does not answer in time', async () => {
    const trial = open([() => new Promise<Decision>(() => {})])
    trial.publish('t', '0')
    await trial.clock.advanceAsync(1_000)
    await trial.promisesResolved()
    expect(trial.sent).toEqual([])
    expect(trial.results.get('t 0')).toMatchObject({
      outcome: 'refused',
      decision: { reason: 'store_unavailable', fallback: true },
      error: new Error('no answer within 1000 ms'),
    })
    expect(trial.parts.publisher.stats()).toMatchObject({ gateFailures: 1, refused: 1 })
  })

  it('does not slow down after an outage', async () => {
    const trial = open({ rate: '1000/s burst 100' }, { retries: 1 })
    let failure: SendFailure | undefined = {
      error: new Error('no responders'),
      slowDown: false,
      again: 'later',
    }
    trial.answer = (_text, settle) => settle(failure)
    for (const text of numbers(500)) trial.publish('t', text)
    trial.clock.advance(10_000)
    // It asks about once a second, and not more often for what waits.
    expect(trial.sent.length).toBeLessThan(20)
    failure = undefined
    trial.clock.advance(2_000)
    expect(trial.parts.publisher.stats()).toMatchObject({
      sent: 500,
      waiting: 0,
      slowDowns: 0,
      pacePerSecond: undefined,
    })
    await trial.promisesResolved()
    expect(trial.sent.slice(-500)).toEqual(numbers(500).map(text => `t ${text}`))
  })

  it('gives up messages that no server serves for 30 seconds', async () => {
    const trial = open({ rate: 'unlimited' })
    trial.answer = (_text, settle) =>
      settle({ error: new Error('no stream'), slowDown: false, again: 'later' })
    trial.publish('t', '0')
    trial.clock.advance(31_000)
    await trial.promisesResolved()
    expect(trial.results.get('t 0')).toMatchObject({ outcome: 'refused', error: new Error('no stream') })
  })

  it('sends messages lost with a connection again, in order and at the same rate', () => {
    const trial = open({ rate: 'unlimited' })
    const settles: ((failure?: SendFailure) => void)[] = []
    trial.answer = (_text, settle) => void settles.push(settle)
    trial.room = 3
    for (const text of numbers(5)) trial.publish('t', text)
    trial.ready = false
    for (const settle of settles.splice(0).reverse())
      settle({ error: new Error('lost'), slowDown: false, again: 'now' })
    trial.answer = (_text, settle) => settle()
    trial.ready = true
    trial.parts.publisher.pump()
    expect(trial.sent.slice(3)).toEqual(numbers(5).map(text => `t ${text}`))
    expect(trial.parts.publisher.stats()).toMatchObject({ slowDowns: 0, waiting: 0 })
  })

  it('drops only the message whose signal is aborted while it waits', async () => {
    const trial = open({ rate: '1/s burst 1' })
    const [early, waiting, late] = [new AbortController(), new AbortController(), new AbortController()]
    early.abort()
    trial.publish('t', 'early', { signal: early.signal })
    trial.publish('t', 'sent', { signal: late.signal })
    trial.publish('t', 'superseded', { signal: late.signal, latest: true })
    trial.publish('t', 'waiting', { signal: waiting.signal, latest: true })
    trial.publish('t', 'other')
    waiting.abort()
    await trial.promisesResolved()
    for (const text of ['early', 'waiting'])
      expect(trial.results.get(`t ${text}`)).toMatchObject({ outcome: 'dropped', why: 'aborted' })
    trial.clock.advance(10_000)
    late.abort()
    expect(trial.sent).toEqual(['t sent', 't other'])
    expect(trial.parts.publisher.stats()).toMatchObject({ waiting: 0, waitingBytes: 0, dropped: 3, sent: 2 })
  })

  it('asks a gate with a remote store about one message at a time, and charges none twice', async () => {
    let asked = 0
    const slow: Middleware = async (_message, next) => {
      asked++
      await Promise.resolve()
      return next()
    }
    const trial = open([slow, limit({ name: 'r', rate: '10/s burst 2', exceeded: 'throttle' })])
    for (const text of numbers(6)) trial.publish('t', text)
    await trial.clock.advanceAsync(1_000)
    expect(trial.sent).toEqual(numbers(6).map(text => `t ${text}`))
    expect(asked).toBeLessThanOrEqual(12)
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('broken')
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
  ] as [string, Middleware][])('refuses messages if the gate %s', async (_how, middleware) => {
    const logged: unknown[] = []
    const trial = open([middleware], { logger: loggerOf(logged) })
    for (const text of ['0', '1']) trial.publish('t', text)
    await trial.clock.advanceAsync(10)
    await trial.promisesResolved()
    expect(trial.sent).toEqual([])
    for (const text of ['0', '1'])
      expect(trial.results.get(`t ${text}`)).toMatchObject({
        outcome: 'refused',
        decision: { allowed: false, fallback: true },
        error: new Error('broken'),
      })
    expect(trial.parts.publisher.stats()).toMatchObject({ gateFailures: 2, refused: 2 })
    expect(logged).toEqual(['the gate of a publisher failed, the fallback answers'])
  })

  it.each([
    ['allow', 'sent'],
    ['deny', 'refused'],
    [undefined, 'refused'],
  ] as const)('does as the fallback %s of a store that fails', async (fallback, outcome) => {
    const logged: unknown[] = []
    const failing: Middleware = () => {
      throw new StoreError('out of reach')
    }
    const trial = open([failing], { logger: loggerOf(logged) })
    Object.defineProperty(trial.parts.gate.store, 'fallback', { value: fallback })
    trial.publish('t', '0')
    await trial.promisesResolved()
    expect(trial.results.get('t 0')).toMatchObject({ outcome })
    expect(trial.parts.publisher.stats()).toMatchObject({ gateFailures: 1, [outcome]: 1 })
    expect(logged).toHaveLength(1)
  })

  it.each([
    [{ maxMessages: 0 }, 'maxMessages'],
    [{ maxBytes: 1.5 }, 'maxBytes'],
    [{ maxAgeMs: 0 }, 'maxAgeMs'],
    [{ retries: -1 }, 'retries'],
    [{ overflow: 'all' as 'newest' }, 'overflow'],
  ])('refuses %o', (options, name) => {
    expect(() => open({ rate: '1/s' }, options)).toThrow(name)
  })

  it('rejects rules that redirect or disconnect, and unknown priorities', () => {
    expect(() => open([limit({ name: 'r', rate: '1/s', exceeded: 'redirect' })])).toThrow(
      'a publisher cannot enact "redirect", which "r" asks for',
    )
    expect(() => open([circuitBreaker({ exceeded: 'drop' }).guard])).toThrow(
      'a publisher has no handlers, which "breaker" needs (use it with a consumer)',
    )
    for (const priority of [10, -1, 1.5, '__proto__' as 'low', null as unknown as 'low'])
      expect(parsePublishQueueOptions({ priority })).toMatchObject({ name: 'PolicyError' })
    expect(parsePublishQueueOptions({ signal: 5 as unknown as AbortSignal })).toMatchObject({
      name: 'PolicyError',
    })
  })
})

describe('a change of the gate', () => {
  it('makes the publisher ask about all waiting messages again, in order', async () => {
    for (const exceeded of ['throttle', 'queue', 'retry'] as const) {
      const trial = open([limit({ name: 'r', rate: '1 per 100s burst 1', exceeded })])
      for (const text of ['1', '2', '3', '4']) trial.publish('t', text)
      expect(trial.sent).toEqual(['t 1'])
      await trial.parts.gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'test' })
      trial.clock.advance(2)
      expect(trial.sent).toEqual(['t 1', 't 2', 't 3', 't 4'])
      trial.parts.close()
    }
  })

  it('releases thousands of messages in slices', async () => {
    const trial = open([limit({ name: 'r', rate: '1 per 100s burst 1', exceeded: 'queue' })])
    for (let index = 0; index < 2_000; index++) trial.publish('t', String(index))
    await trial.parts.gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'test' })
    let most = 0
    for (let ms = 0; ms < 100 && trial.sent.length < 2_000; ms++) {
      const before = trial.sent.length
      trial.clock.advance(1)
      most = Math.max(most, trial.sent.length - before)
    }
    expect(trial.sent).toEqual(Array.from({ length: 2_000 }, (_, index) => `t ${index}`))
    expect(most).toBeLessThanOrEqual(130)
    trial.parts.close()
  })
})
