import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { CLIENTS } from './public-api.ts'
import { natsGate, Scene } from './scene.ts'

let server: NatsServer
let made = 0
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(CLIENTS)('copies of JetStream messages of $name', generation => {
  let scene: Scene
  let name: string
  beforeEach(async () => {
    scene = await Scene.open(generation, server)
    name = `c${++made}`
    await scene.js.addStream(name, [`${name}.>`])
  })
  afterEach(() => scene[Symbol.asyncDispose]())

  const COUNT = 10
  const rejecting = () => natsGate(limit({ name: 'a', rate: '1/min', per: 'topic', exceeded: 'reject' }))
  const redirecting = () =>
    natsGate(
      limit({
        name: 'a',
        rate: '1/min',
        per: 'topic',
        dialect: 'nats',
        exceeded: { redirect: { to: 'else-{topic}' } },
      }),
    )
  const addElsewhere = (first: string) => scene.js.addStream(`${first}${name}`, [`${first}${name}.>`])
  const stored = async (first: string) => (await scene.js.streamState(`${first}${name}`)).messages
  const waiting = async () => (await scene.js.state(name, 'c')).num_ack_pending
  const answered = () =>
    until(
      async () => {
        const { num_ack_pending, num_pending } = await scene.js.state(name, 'c')
        return num_ack_pending + num_pending === 0
      },
      { what: 'all answered' },
    )

  it('are in their stream before the originals are given up', async () => {
    await addElsewhere('dead-')
    const limits = scene.limit(rejecting(), { deadLetter: 'dead-{topic}' })
    await scene.store(`${name}.a`, COUNT + 1)
    await limits.consume(await scene.js.addConsumer(name, 'c'), () => {})
    await answered()
    expect(await stored('dead-')).toBe(COUNT)
    expect(limits.stats()).toMatchObject({ delivered: 1, terminated: COUNT, unconfirmed: 0, sentBack: 0 })
  })

  it('are in their stream before redirected originals are acknowledged', async () => {
    await addElsewhere('else-')
    const limits = scene.limit(redirecting())
    await scene.store(`${name}.a`, COUNT + 1)
    await limits.consume(await scene.js.addConsumer(name, 'c'), () => {})
    await answered()
    expect(await stored('else-')).toBe(COUNT)
    expect(limits.stats()).toMatchObject({ delivered: 1, redirected: COUNT, unconfirmed: 0, dropped: 0 })
  })

  it.each([
    ['dead-', rejecting],
    ['else-', redirecting],
  ] as const)('that no stream takes (%s) send the originals back until one does', async (first, gateOf) => {
    const limits = scene.limit(gateOf(), { deadLetter: 'dead-{topic}', errorDelayMs: 100 })
    await scene.store(`${name}.a`, COUNT + 1)
    await limits.consume(await scene.js.addConsumer(name, 'c'), () => {})
    await until(() => limits.stats().unconfirmed >= 2 * COUNT)
    expect(await waiting()).toBe(COUNT)
    expect(limits.stats()).toMatchObject({ delivered: 1, terminated: 0, redirected: 0, dropped: 0 })
    await addElsewhere(first)
    await answered()
    expect(await stored(first)).toBe(COUNT)
    const { terminated, redirected, unconfirmed, sentBack } = limits.stats()
    expect(terminated + redirected).toBe(COUNT)
    expect(sentBack).toBe(unconfirmed)
  })

  it('that are heard by one who is no stream, or by none in time, send the originals back', async () => {
    const limits = scene.limit(rejecting(), {
      deadLetter: 'dead-{topic}',
      confirmTimeoutMs: 50,
      errorDelayMs: 60_000,
    })
    let heard = 0
    scene.sender.subscribe(`dead-${name}.>`, {
      callback: (_error, message) => {
        // Every other time nothing is said at all.
        if (heard++ % 2 === 0) message.respond?.('{"thanks":true}')
      },
    })
    await scene.sender.flush()
    await scene.store(`${name}.a`, COUNT + 1)
    await limits.consume(await scene.js.addConsumer(name, 'c'), () => {})
    await until(() => limits.stats().unconfirmed === COUNT)
    await until(() => heard === COUNT)
    expect(await waiting()).toBe(COUNT)
    expect(limits.stats()).toMatchObject({ terminated: 0, sentBack: COUNT, handling: 0 })
  })

  it('are published unheard of where that is asked for', async () => {
    const limits = scene.limit(rejecting(), { deadLetter: 'dead-{topic}', confirm: false })
    await scene.store(`${name}.a`, COUNT + 1)
    await limits.consume(await scene.js.addConsumer(name, 'c'), () => {})
    await answered()
    expect(limits.stats()).toMatchObject({ terminated: COUNT, unconfirmed: 0 })
  })

  it('wait for their stream up to a bound', async () => {
    const limits = scene.limit(rejecting(), { deadLetter: 'dead-{topic}', errorDelayMs: 60_000 })
    scene.sender.subscribe(`dead-${name}.>`, { callback: () => {} })
    await scene.sender.flush()
    await scene.store(`${name}.a`, MAX_SIZES.pendingCopies + COUNT + 1)
    const consumer = await scene.js.addConsumer(name, 'c', { ackWaitMs: 120_000 })
    await limits.consume(consumer, () => {}, { max_messages: 2_000 })
    await until(() => limits.stats().unconfirmed === COUNT)
    expect(limits.stats().handling).toBe(MAX_SIZES.pendingCopies)
    await limits.drain()
    expect(limits.stats()).toMatchObject({
      handling: 0,
      unconfirmed: MAX_SIZES.pendingCopies + COUNT,
      terminated: 0,
    })
  })
})
