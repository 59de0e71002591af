import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ConsumerInfo, JetStreamMessage } from '../../../brokers/nats/client-types.ts'
import { limitNats } from '../../../brokers/nats/index.ts'
import { processorOptions } from '../../../brokers/nats/jetstream-message-processor.ts'
import { completeSettings } from '../../../brokers/nats/options.ts'
import { Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { CLIENTS } from './public-api.ts'
import { natsGate, numbers, Scene, textOf } from './scene.ts'

let server: NatsServer
let made = 0
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(CLIENTS)('messages kept by a consumer of $name', generation => {
  let scene: Scene
  let name: string
  beforeEach(async () => {
    scene = await Scene.open(generation, server)
    name = `k${++made}`
    await scene.js.addStream(name, [`${name}.>`])
  })
  afterEach(() => scene[Symbol.asyncDispose]())

  const answered = () =>
    until(
      async () => {
        const { num_ack_pending, num_pending } = await scene.js.state(name, 'c')
        return num_ack_pending + num_pending === 0
      },
      { what: 'all answered' },
    )
  const deliveries = async () => (await scene.js.state(name, 'c')).delivered.consumer_seq
  const throttled = (rate: string) => natsGate(limit({ name: 'a', rate, per: 'topic', exceeded: 'throttle' }))

  it('are kept alive by the shortest of its backoffs, and delivered once', async () => {
    const clock = new FakeClock()
    const gate = new Gate({ dialect: 'nats', clock }).use(
      limit({ name: 'a', rate: '1/min', per: 'topic', exceeded: 'throttle' }),
    )
    const limits = scene.limit(gate, { maxHoldMs: 3_600_000 })
    const answers: string[] = []
    scene.sender.subscribe(`$JS.ACK.${name}.>`, {
      callback: (_error, message) => void answers.push(textOf(message)),
    })
    await scene.store(`${name}.a`, 2)
    const backoffMs = [60_000, 120_000]
    const consumer = await scene.js.addConsumer(name, 'c', { backoffMs, max_deliver: 5 })
    const seen: string[] = []
    await limits.consume(consumer, message => void seen.push(textOf(message)))
    await until(() => limits.stats().held === 1 && answers.length === 2)
    clock.advance(59_000)
    // One when it is held, and one each third of the shorter time.
    await until(() => answers.length === 4)
    expect(answers.toSorted()).toEqual(['+ACK', '+WPI', '+WPI', '+WPI'])
    clock.advance(1_000)
    await answered()
    expect(seen).toEqual(numbers(2))
    expect(await deliveries()).toBe(2)
  })

  it('go back where there is no room to hold them, to come when those before have passed', async () => {
    const limits = scene.limit(throttled('100/s burst 1'), { maxHeldPerSender: 20 })
    await scene.store(`${name}.a`, 100)
    const consumer = await scene.js.addConsumer(name, 'c')
    const seen: string[] = []
    await limits.consume(consumer, message => void seen.push(textOf(message)))
    await until(() => seen.length === 100)
    await answered()
    expect(new Set(seen).size).toBe(100)
    expect(seen.slice(0, 21)).toEqual(numbers(21))
    expect(limits.stats()).toMatchObject({ dropped: 0, terminated: 0 })
    // Twice each on a machine that is in time; thousands if they came back at once.
    expect((await deliveries()) / 100).toBeLessThanOrEqual(10)
  })

  it('are handled once even if they are delivered again while they are held', async () => {
    const clock = new FakeClock()
    const gate = new Gate({ dialect: 'nats', clock }).use(
      limit({ name: 'a', rate: '1/min', per: 'topic', initial: 0, exceeded: 'throttle' }),
    )
    const limits = scene.limit(gate, { maxHoldMs: 3_600_000 })
    await scene.store(`${name}.a`, 3)
    // No message comes a third time, so each is handled long after its last delivery.
    const consumer = await scene.js.addConsumer(name, 'c', { ackWaitMs: 150, max_deliver: 2 })
    const seen: string[] = []
    // This loop knows nothing of the consumer, and keeps alive for the usual half a minute.
    const take = limits.wrap<JetStreamMessage>(message => void seen.push(textOf(message)))
    const messages = await consumer.consume({ callback: take })
    await until(() => limits.stats().redelivered === 3)
    expect(limits.stats()).toMatchObject({ received: 3, held: 3, delivered: 0 })
    await clock.advanceAsync(180_000)
    await answered()
    await messages.close()
    expect(seen).toEqual(numbers(3))
    expect(limits.stats()).toMatchObject({ received: 3, delivered: 3, redelivered: 3 })
  })

  it('of an ordered consumer are held in their order', async () => {
    const limits = scene.limit(throttled('100/s burst 1'))
    await scene.store(`${name}.a`, 20)
    const seen: string[] = []
    await limits.consume(await scene.js.ordered(name), message => void seen.push(textOf(message)))
    await until(() => seen.length === 20)
    expect(seen).toEqual(numbers(20))
  })

  it('pass at once when they are drained so', async () => {
    const limits = scene.limit(throttled('1/min'))
    await scene.store(`${name}.a`, 10)
    const seen: string[] = []
    await limits.consume(await scene.js.addConsumer(name, 'c'), message => void seen.push(textOf(message)))
    await until(() => limits.stats().held === 9)
    await limits.drain({ held: 'pass' })
    await scene.nc.flush()
    await answered()
    expect(seen).toEqual(numbers(10))
    expect(await deliveries()).toBe(10)
  })

  it('go back where the store fails and nobody may pass without it', async () => {
    const limits = scene.limit(
      natsGate(() => Promise.reject(new Error('out of reach'))),
      { middlewareFallback: 'deny' },
    )
    await scene.store(`${name}.a`, 3)
    await limits.consume(await scene.js.addConsumer(name, 'c'), () => {})
    await until(() => limits.stats().sentBack >= 3)
    expect(limits.stats()).toMatchObject({ delivered: 0, terminated: 0, dropped: 0 })
    expect((await scene.js.state(name, 'c')).num_ack_pending).toBe(3)
  })
})

describe('consumer information', () => {
  const settings = completeSettings({})
  const facts = (config: ConsumerInfo['config']): ConsumerInfo => ({ config })
  const ms = 1_000_000

  it('decides how its messages are kept', () => {
    expect(processorOptions(undefined, settings)).toEqual({
      isOneConsumer: false,
      ackWaitMs: 30_000,
      maxDeliver: Number.POSITIVE_INFINITY,
      maxAckPending: Number.POSITIVE_INFINITY,
      isAcknowledged: true,
      acksAutomatically: true,
    })
    expect(processorOptions(facts({ ack_wait: 900 * ms, max_deliver: 4 }), settings)).toMatchObject({
      ackWaitMs: 900,
      maxDeliver: 4,
    })
    expect(
      processorOptions(facts({ ack_wait: 9_000 * ms, backoff: [500 * ms, 200 * ms] }), settings),
    ).toMatchObject({ ackWaitMs: 200 })
    expect(processorOptions(facts({ ack_policy: 'none' }), settings).isAcknowledged).toBe(false)
  })
})

describe('a limiter that is closed', () => {
  it('takes no message any more, and closes twice', async () => {
    const limits = limitNats(natsGate())
    let naks = 0
    const take = limits.wrap(() => {
      throw new Error('it was handled')
    })
    await limits.close()
    const message = {
      subject: 'a',
      data: new Uint8Array(0),
      sid: 1,
      working: () => {},
      nak: () => void naks++,
    }
    take(message)
    expect(naks).toBe(1)
    await limits.close()
    expect(limits.stats()).toMatchObject({ delivered: 0, sentBack: 1, handlerErrors: 0 })
  })
})
