import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { acknowledge } from '../../../brokers/nats/client-internals.ts'
import type { JetStreamMessage } from '../../../brokers/nats/index.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, Scene } from './scene.ts'

const MESSAGES = 50

let server: NatsServer
let made = 0
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** Handles so many messages, and tells how often the server was written to for them. */
async function handle(
  generation: (typeof GENERATIONS)[number],
  handler: (message: JetStreamMessage) => void,
): Promise<{ readonly written: number; readonly deliveries: number }> {
  await using scene = await Scene.open(generation, server)
  const name = `a${++made}`
  await scene.js.addStream(name, [`${name}.>`])
  const limits = scene.limit(natsGate(limit({ name: 'a', rate: '1000/s', per: 'topic', exceeded: 'drop' })))
  await scene.store(`${name}.a`, MESSAGES)
  // Consumers are made on the connection that publishes.
  const { sender } = scene as unknown as { sender: { stats(): { outMsgs: number } } }
  let before = 0
  let seen = 0
  const consumer = await scene.js.addConsumer(name, 'c')
  let written = 0
  await limits.consume(consumer, message => {
    if (seen === 0) before = sender.stats().outMsgs
    handler(message)
    if (++seen === MESSAGES) queueMicrotask(() => (written = sender.stats().outMsgs - before))
  })
  await until(async () => {
    const { num_ack_pending, num_pending } = await scene.js.state(name, 'c')
    return seen === MESSAGES && num_ack_pending + num_pending === 0
  })
  return { written, deliveries: (await scene.js.state(name, 'c')).delivered.consumer_seq }
}

describe.each(GENERATIONS)('acknowledgements of $name', generation => {
  it('are written without the client’s own, and reach the server', async () => {
    let own = 0
    const { written, deliveries } = await handle(generation, message => {
      message.ack = () => void own++
    })
    expect({ own, deliveries }).toEqual({ own: 0, deliveries: MESSAGES })
    expectOnce(written)
  })

  it('are not given again where the handler has answered', async () => {
    const { written, deliveries } = await handle(generation, message => message.ack())
    expect(deliveries).toBe(MESSAGES)
    expectOnce(written)
  })
})

/** Besides, the client asks for more messages, once or twice. */
function expectOnce(written: number): void {
  expect(written).toBeGreaterThanOrEqual(MESSAGES)
  expect(written).toBeLessThan(MESSAGES + 5)
}

describe('an acknowledgement', () => {
  it('is the client’s own where the client is not as it is known', () => {
    let own = 0
    const known = {
      didAck: false,
      ack: () => void own++,
      msg: {
        _msg: { reply: new TextEncoder().encode('$JS.ACK.s.c.1.1.1.1.0') },
        publisher: { connected: true, outMsgs: 0, outBytes: 0, sendCommand: () => {} },
      },
    }
    const { msg } = known
    const others = [
      { ...known, didAck: undefined },
      { ...known, msg: undefined },
      { ...known, msg: { ...msg, _msg: { reply: '$JS.ACK' } } },
      { ...known, msg: { ...msg, publisher: { ...msg.publisher, connected: false } } },
      { ...known, msg: { ...msg, publisher: { ...msg.publisher, sendCommand: undefined } } },
      { ...known, msg: { ...msg, publisher: { ...msg.publisher, outMsgs: undefined } } },
    ]
    for (const message of others) acknowledge(message as unknown as JetStreamMessage)
    expect(own).toBe(others.length)
    acknowledge(known as unknown as JetStreamMessage)
    expect(own).toBe(others.length)
  })
})
