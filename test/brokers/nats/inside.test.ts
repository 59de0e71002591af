import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JetStreamMessage, NatsMessage } from '../../../brokers/nats/index.ts'
import { headerBlockOf, insideOf } from '../../../brokers/nats/inside.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './generations.ts'
import { Scene } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** What is used of a client that is not public. A version that keeps it elsewhere is served by its public API, more slowly. */
describe.each(GENERATIONS)('the inside of $name', generation => {
  it('is where it is looked for, in messages of core NATS', async () => {
    await using scene = await Scene.open(generation, server)
    const got: NatsMessage[] = []
    scene.nc.subscribe('inside.core', { callback: (_error, message) => void got.push(message) })
    await scene.nc.flush()
    const headers = generation.headers()
    headers.append('a', 'b')
    scene.sender.publish('inside.core', Buffer.from('payload'), { headers, reply: 'answer' })
    await until(() => got.length === 1)
    const { _rdata, _msg, publisher } = insideOf(got[0]!)
    expect(_rdata).toBeInstanceOf(Uint8Array)
    expect(Buffer.from(_msg?.subject as Uint8Array).toString()).toBe('inside.core')
    expect(Buffer.from(_msg?.reply as Uint8Array).toString()).toBe('answer')
    expect(Buffer.from(headerBlockOf(got[0]!)!).toString()).toBe('NATS/1.0\r\na: b\r\n\r\n')
    expect(publisher).toMatchObject({ connected: true, sendCommand: expect.any(Function) })
  })

  it('is where it is looked for, in messages of JetStream', async () => {
    await using scene = await Scene.open(generation, server)
    const name = `inside${generation.name.at(-1)}`
    await scene.js.addStream(name, [name])
    const consumer = await scene.js.addConsumer(name, 'c')
    await scene.store(name, 1)
    const got: JetStreamMessage[] = []
    const messages = await consumer.consume({ callback: message => void got.push(message) })
    await until(() => got.length === 1)
    const { _rdata, _msg, publisher } = insideOf(got[0]!)
    expect(_rdata).toBeInstanceOf(Uint8Array)
    expect(_msg?.subject).toBeInstanceOf(Uint8Array)
    expect(_msg?.reply).toBeInstanceOf(Uint8Array)
    expect((got[0] as { didAck?: unknown }).didAck).toBe(false)
    expect(publisher).toMatchObject({
      connected: true,
      outMsgs: expect.any(Number),
      outBytes: expect.any(Number),
      sendCommand: expect.any(Function),
    })
    await messages.close()
  })
})
