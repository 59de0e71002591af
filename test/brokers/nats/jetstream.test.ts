import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { JetStreamMessage } from '../../../brokers/nats/index.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import type { ConsumerSettings } from './client-versions.ts'
import { CLIENTS } from './public-api.ts'
import { natsGate, numbers, Scene, textOf } from './scene.ts'

let server: NatsServer
let made = 0
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(CLIENTS)('JetStream consumers of $name', generation => {
  let scene: Scene
  let name: string
  beforeEach(async () => {
    scene = await Scene.open(generation, server)
    name = `s${++made}`
    await scene.js.addStream(name, [`${name}.>`])
  })
  afterEach(() => scene[Symbol.asyncDispose]())

  const consumer = (settings: ConsumerSettings = {}) => scene.js.addConsumer(name, 'c', settings)
  /** How many deliveries the server has made, and how many wait for an answer. */
  const counts = async () => {
    const { delivered, num_ack_pending, num_pending } = await scene.js.state(name, 'c')
    return { deliveries: delivered.consumer_seq, waiting: num_ack_pending, pending: num_pending }
  }
  const settled = (deliveries: number) =>
    until(
      async () => {
        const now = await counts()
        return now.deliveries >= deliveries && now.waiting === 0 && now.pending === 0
      },
      { what: 'all answered' },
    )

  it('acknowledge what was handled, and what is dropped without being handled', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '3/min', per: 'topic', exceeded: 'drop' })))
    await scene.store(`${name}.a`, 5)
    const seen: string[] = []
    await limits.consume(await consumer(), message => void seen.push(textOf(message)))
    await settled(5)
    expect(seen).toEqual(['0', '1', '2'])
    expect(await counts()).toEqual({ deliveries: 5, waiting: 0, pending: 0 })
    expect(limits.stats()).toMatchObject({ received: 5, delivered: 3, dropped: 2 })
  })

  it('drop a repeated payload, acknowledged, and handle a redelivery', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'repeats', unchanged: 'drop', per: 'topic' })))
    const seen: string[] = []
    let failures = 1
    await limits.consume(await consumer(), message => {
      seen.push(textOf(message))
      if (textOf(message) === 'b' && failures-- > 0) throw new Error('handler')
    })
    for (const text of ['a', 'a', 'b']) await scene.js.publish(`${name}.a`, text)
    await until(() => seen.length === 3)
    await settled(4)
    expect(seen).toEqual(['a', 'b', 'b'])
    for (const text of ['b', 'c', 'c']) await scene.js.publish(`${name}.a`, text)
    await settled(7)
    expect(seen).toEqual(['a', 'b', 'b', 'c'])
    expect(limits.stats()).toMatchObject({ dropped: 3 })
  })

  it('send each message of a backlog back once, to a slot of its own', async () => {
    const rate = '100/s burst 1'
    const limits = scene.limit(natsGate(limit({ name: 'a', rate, per: 'topic', exceeded: 'retry' })))
    await scene.store(`${name}.a`, 100)
    const seen: string[] = []
    await limits.consume(await consumer(), message => void seen.push(textOf(message)))
    await settled(100)
    expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual(numbers(100))
    const { deliveries } = await counts()
    expect(deliveries).toBeGreaterThanOrEqual(199)
    expect(deliveries / 100).toBeLessThanOrEqual(2.1)
    expect(limits.stats()).toMatchObject({ delivered: 100, reserved: 0 })
  })

  it('hold what is throttled, alive beyond the time for an answer, delivered once', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '20/s burst 1', per: 'topic', exceeded: 'throttle' })),
    )
    await scene.store(`${name}.a`, 45)
    const seen: string[] = []
    // Held for longer than that, and answered every half a second.
    await limits.consume(await consumer({ ackWaitMs: 1_500 }), message => void seen.push(textOf(message)))
    await until(() => seen.length === 45)
    await settled(45)
    expect(seen).toEqual(numbers(45))
    expect(await counts()).toEqual({ deliveries: 45, waiting: 0, pending: 0 })
  })

  it('pull nothing before it may pass where a limit is the whole consumer’s', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '100/s burst 1', exceeded: 'retry' })))
    await scene.store(`${name}.a`, 50)
    const seen: string[] = []
    await limits.consume(await consumer(), message => void seen.push(textOf(message)))
    await settled(50)
    expect(seen).toEqual(numbers(50))
    expect(await counts()).toEqual({ deliveries: 50, waiting: 0, pending: 0 })
    expect(limits.stats()).toMatchObject({ sentBack: 0, held: 0 })
  })

  it('pull on where a limit without parts is for some messages only', async () => {
    const some = limit({ name: 'a', rate: '1/min', exceeded: 'retry', when: { size: { max: 1 } } })
    const limits = scene.limit(natsGate(some))
    const seen: string[] = []
    await limits.consume(await consumer(), message => void seen.push(textOf(message)))
    await scene.store(`${name}.a`, 1)
    await until(() => seen.length === 1)
    await scene.store(`${name}.a`, 20, 10)
    await until(() => seen.length === 21)
    expect(seen).toEqual(['0', ...numbers(30).slice(10)])
    await settled(21)
  })

  it('give up what may not pass by its last delivery, and tell the dead letters why', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '1/min', per: 'topic', exceeded: 'retry' })),
      { deadLetter: 'dead.{topic}', confirm: false },
    )
    const dead: { text: string; rule: string[] }[] = []
    scene.sender.subscribe('dead.>', {
      callback: (_error, message) =>
        dead.push({ text: textOf(message), rule: message.headers?.values('topicgate-rule') ?? [] }),
    })
    await scene.store(`${name}.a`, 2)
    const seen: string[] = []
    await limits.consume(await consumer({ max_deliver: 1 }), message => void seen.push(textOf(message)))
    await until(() => dead.length === 1)
    await settled(2)
    expect(seen).toEqual(['0'])
    expect(dead).toEqual([{ text: '1', rule: ['a'] }])
    expect(limits.stats()).toMatchObject({ terminated: 1, reserved: 0 })
  })

  it('terminate what is rejected', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '1/min', per: 'topic', exceeded: 'reject' })),
    )
    await scene.store(`${name}.a`, 3)
    await limits.consume(await consumer(), () => {})
    await settled(3)
    expect(await counts()).toEqual({ deliveries: 3, waiting: 0, pending: 0 })
    expect(limits.stats()).toMatchObject({ delivered: 1, terminated: 2 })
  })

  it('keep the newest of each subject where only that matters, and acknowledge those before', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '10/s burst 1', per: 'topic', exceeded: 'latest' })),
    )
    await scene.store(`${name}.a`, 6)
    const seen: string[] = []
    await limits.consume(await consumer(), message => void seen.push(textOf(message)))
    await settled(6)
    expect([seen[0], seen.at(-1)]).toEqual(['0', '5'])
    expect(seen.length).toBeLessThan(6)
    expect(limits.stats().superseded).toBe(6 - seen.length)
  })

  it('deliver again what a handler failed to handle, and go on', async () => {
    const limits = scene.limit(natsGate(), { errorDelayMs: 20 })
    await scene.store(`${name}.a`, 4)
    const seen: string[] = []
    await limits.consume(await consumer(), message => {
      seen.push(textOf(message))
      if (seen.length === 1) throw new Error('sync')
      if (seen.length === 2) return Promise.reject(new Error('async'))
      return undefined
    })
    await until(() => seen.length === 6)
    await settled(6)
    expect(seen.toSorted()).toEqual(['0', '0', '1', '1', '2', '3'])
    expect(limits.stats()).toMatchObject({ handlerErrors: 2, handling: 0 })
  })

  it('leave answering to the handler where it is told to', async () => {
    const limits = scene.limit(natsGate(), { ack: 'manual' })
    await scene.store(`${name}.a`, 3)
    const kept: JetStreamMessage[] = []
    await limits.consume(await consumer(), message => void kept.push(message))
    await until(() => kept.length === 3)
    expect((await counts()).waiting).toBe(3)
    for (const message of kept) message.ack()
    await settled(3)
  })

  it('share a batch among workers that ask at once', async () => {
    const limits = scene.limit(natsGate())
    await scene.js.addStream('shared', ['shared'])
    const consumer = await scene.js.addConsumer('shared', 'c')
    await scene.store('shared', 20)
    const batch = await limits.fetch(consumer, { max_messages: 20, expires: 1_000 })
    const asked = await Promise.all(Array.from({ length: 25 }, () => batch.next()))
    expect(asked.filter(({ done }) => done)).toHaveLength(5)
    expect(asked.slice(0, 20).map(({ value }) => textOf(value))).toEqual(numbers(20))
    for (const { value } of asked) value?.ack()
    const ones = await Promise.all(Array.from({ length: 4 }, () => limits.next(consumer, { expires: 1_000 })))
    expect(ones).toEqual([null, null, null, null])
  })

  it('iterate, fetch and take one by one what may pass', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '4/min', per: 'topic', exceeded: 'drop' })))
    await scene.store(`${name}.a`, 3)
    await scene.store(`${name}.b`, 6)
    const pull = await consumer()
    const first = await limits.next(pull, { expires: 1_000 })
    expect(textOf(first!)).toBe('0')
    first!.ack()
    const seen: string[] = []
    for await (const message of await limits.fetch(pull, { max_messages: 4, expires: 1_000 })) {
      seen.push(`${message.subject.slice(-1)}${textOf(message)}`)
      message.ack()
    }
    expect(seen).toEqual(['a1', 'a2', 'b0', 'b1'])
    const batch = await pull.fetch({ max_messages: 4, expires: 1_000 })
    for await (const message of limits.iterate(batch, { consumer: pull })) {
      seen.push(`${message.subject.slice(-1)}${textOf(message)}`)
      message.ack()
    }
    expect(seen.slice(4)).toEqual(['b2', 'b3'])
    expect(await limits.next(pull, { expires: 1_000 })).toBeNull()
    await settled(9)
    expect(limits.stats()).toMatchObject({ delivered: 7, dropped: 2 })
  })

  it('give back what is held to the other members when they are drained, and wait for handlers at work', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '2/min', per: 'topic', exceeded: 'throttle' })),
    )
    await scene.store(`${name}.a`, 10)
    const finished: string[] = []
    const pull = await consumer()
    let goOn = (): void => {}
    const goingOn = new Promise<void>(resolve => {
      goOn = resolve
    })
    await limits.consume(pull, async message => {
      await goingOn
      finished.push(textOf(message))
    })
    await until(() => limits.stats().held === 8)
    const later: string[] = []
    await scene.limit(natsGate()).consume(pull, message => void later.push(textOf(message)))
    await scene.nc.flush()
    const drained = limits.drain()
    goOn()
    await drained
    expect(finished).toEqual(['0', '1'])
    expect(limits.stats()).toMatchObject({ held: 0, handling: 0, sentBack: 8, discarded: 8 })
    await until(() => later.length === 8, { what: () => `8 again: ${later.join()}` })
    await settled(18)
    expect(later.toSorted()).toEqual(numbers(10).slice(2))
  })
})
