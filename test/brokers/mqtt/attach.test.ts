import { describe, expect, it } from 'vitest'
import { limitConsumer } from '../../../brokers/mqtt/index.ts'
import { Gate, limit, PolicyError, UnsupportedError } from '../../../src/index.ts'
import { startMosquitto } from '../../support/mosquitto.ts'
import { connectClient } from '../../support/mqtt-client.ts'
import { until } from '../../support/wait.ts'
import { openScene } from './harness.ts'

const handler = (): void => {}

describe('attaching a limiter to a consumer', () => {
  it('is refused for what MQTT cannot do, with the rules and the remedy', async () => {
    await using broker = await startMosquitto()
    await using own = await connectClient({ port: broker.port })
    const asks = (...outcomes: ('retry' | 'disconnect' | 'redirect')[]): Gate =>
      new Gate().use(...outcomes.map(exceeded => limit({ name: `to ${exceeded}`, rate: '1/s', exceeded })))
    expect(() => limitConsumer(own.client, asks('retry', 'disconnect', 'redirect'), { handler })).toThrow(
      new UnsupportedError(
        [
          'an MQTT consumer cannot enact "retry", which "to retry" asks for: MQTT does not redeliver on the same connection; use throttle or queue',
          'an MQTT consumer cannot enact "redirect", which "to redirect" asks for: there is no client to publish with; give a second one as deadLetter',
          'an MQTT consumer cannot enact "disconnect", which "to disconnect" asks for: that would end the consumer, not the sender; use drop or reject',
        ].join('\n'),
      ),
    )
    expect(() => limitConsumer(own.client, asks('redirect'), { handler, deadLetter: own.client })).toThrow(
      /deadLetter is the consumer itself/,
    )
    expect(() => limitConsumer(own.client, new Gate(), {} as never)).toThrow(PolicyError)
    const late = { handler, deadLetterTimeoutMs: 0 }
    expect(() => limitConsumer(own.client, new Gate(), late)).toThrow('deadLetterTimeoutMs')
    const other = Object.create(own.client, { handleMessage: { value: undefined } })
    expect(() => limitConsumer(other, new Gate(), { handler })).toThrow(/has no handleMessage/)
    await using aliases = await connectClient({
      ...{ port: broker.port, protocolVersion: 5, properties: { topicAliasMaximum: 10 } },
    })
    expect(() => limitConsumer(aliases.client, new Gate(), { handler })).toThrow(/topicAliasMaximum/)
  })

  it('leaves the client as it was when it is closed, and what was held passes', async () => {
    const rules = [limit({ name: 'r', rate: '1 per 100s', exceeded: 'throttle' })]
    await using scene = await openScene({ rules })
    await scene.publish(3)
    await until(() => scene.limits.stats().held === 1)
    const { client } = scene.consumer
    scene.limits.close()
    await until(() => scene.consumer.messages.length === 3)
    expect(Object.hasOwn(client, 'handleMessage')).toBe(false)
    // The held one was handled; what comes now is the client's own again.
    expect(scene.handled.map(({ text }) => text)).toEqual(['0', '1'])
    await scene.publish(1, { text: () => 'later' })
    await scene.consumer.received(4)
    expect(client.listenerCount('close')).toBe(1)
    scene.limits.close()
  })

  it('keeps to the handlers at work of all consumers of a gate', async () => {
    await using broker = await startMosquitto()
    await using first = await connectClient({ port: broker.port, clientId: 'first' })
    await using second = await connectClient({ port: broker.port, clientId: 'second' })
    await using sender = await connectClient({ port: broker.port, clientId: 'sender' })
    const gate = new Gate().use('{tenant}/#', limit({ name: 'work', inFlight: 1, per: 'tenant' }))
    let atWork = 0
    let most = 0
    let done = 0
    const ends: (() => void)[] = []
    const work = (): Promise<void> => {
      most = Math.max(most, ++atWork)
      return new Promise(resolve => {
        ends.push(() => {
          atWork--
          done++
          resolve()
        })
      })
    }
    const limited = [first, second].map(({ client }) => limitConsumer(client, gate, { handler: work }))
    for (const each of [first, second]) await each.subscribe('a/#', 1)
    for (let count = 0; count < 10; count++) await sender.client.publishAsync('a/b', 'x', { qos: 1 })
    await until(() => {
      ends.shift()?.()
      return done === 20
    })
    expect(most).toBe(1)
    await until(() => limited.every(limits => limits.stats().delivered === 10))
    for (const limits of limited) limits.close()
  })

  it('refuses a second limiter on one client, until the first is closed', async () => {
    await using scene = await openScene({ rules: [] })
    const { client } = scene.consumer
    expect(() => limitConsumer(client, new Gate(), { handler })).toThrow(UnsupportedError)
    scene.limits.close()
    const second = limitConsumer(client, new Gate(), { handler })
    second.close()
    await scene.publish(2)
    await scene.consumer.received(2)
  })

  it.each([
    ['open', 1],
    ['open', 2],
    ['drained', 1],
    ['drained', 2],
  ] as const)(
    'leaves a client that reads on, whatever was wrapped around it since: %s, QoS %d',
    async (state, qos) => {
      await using scene = await openScene({ rules: [], qos, client: { keepalive: 1 } })
      const { client } = scene.consumer
      const inner = client.handleMessage
      let wrapped = 0
      client.handleMessage = (packet, done) => {
        wrapped++
        inner.call(client, packet, done)
      }
      let closes = 0
      client.on('close', () => closes++)
      if (state === 'drained') {
        await scene.limits.drain()
        // The first of them holds the client up.
        await scene.publish(2, { qos })
        await until(() => scene.consumer.messages.length > 0 || wrapped > 0 || qos === 2)
      }
      scene.limits.close()
      const before = scene.handled.length
      await scene.publish(5, { qos, text: index => `later ${index}` })
      await until(() => scene.consumer.messages.filter(({ text }) => text.startsWith('later')).length === 5)
      // Longer than the keepalive: a client that reads nothing would have been cut off.
      await new Promise(resolve => setTimeout(resolve, 2_000))
      expect({ closes, handled: scene.handled.length - before }).toEqual({ closes: 0, handled: 0 })
      expect(wrapped).toBeGreaterThanOrEqual(5)
    },
  )

  it('asks the hooks of the application first, and puts them back', async () => {
    await using broker = await startMosquitto()
    const asked: string[] = []
    const customHandleAcks = (
      topic: string,
      _payload: Buffer,
      _packet: unknown,
      done: (error: Error | number, code?: number) => void,
    ): void => {
      asked.push(topic)
      done(topic === 'in/refused' ? 0x87 : 0)
    }
    await using consumer = await connectClient({ port: broker.port, protocolVersion: 5, customHandleAcks })
    const handleMessage = (_packet: unknown, done: () => void): void => done()
    consumer.client.handleMessage = handleMessage
    const topics: string[] = []
    const limits = limitConsumer(consumer.client, new Gate(), { handler: topic => topics.push(topic) })
    await consumer.subscribe('in/#', 2)
    for (const qos of [1, 2] as const) {
      await consumer.publish('in/passes', 'x', { qos })
      await consumer.publish('in/refused', 'x', { qos })
    }
    await until(() => asked.length === 4 && topics.length === 2)
    expect(topics).toEqual(['in/passes', 'in/passes'])
    limits.close()
    expect(consumer.client.handleMessage).toBe(handleMessage)
    expect(consumer.client.options.customHandleAcks).toBe(customHandleAcks)
  })

  it('warns of listeners that see all, and of a policy loaded later that asks for too much, which drops', async () => {
    const warnings: string[] = []
    const ignore = (): void => {}
    const logger = {
      ...{ debug: ignore, info: ignore, error: ignore },
      warn: (_context: object, text = '') => void warnings.push(text),
    }
    await using scene = await openScene({ rules: [], logger })
    expect(warnings).toEqual(['listeners of "message" receive every message, including refused ones'])
    await scene.gate.apply({ rules: [{ name: 'r', limit: '1 per 1000s', exceeded: 'retry' }] })
    expect(warnings[1]).toContain('an MQTT consumer cannot enact "retry", which "r" asks for')
    await scene.publish(3)
    await until(() => scene.limits.stats().received === 3)
    expect(scene.limits.stats()).toMatchObject({ delivered: 1, dropped: 2, unsupported: 2 })
  })
})
