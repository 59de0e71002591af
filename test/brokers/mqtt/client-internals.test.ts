import { describe, expect, it } from 'vitest'
import { findMissingClientInternals } from '../../../brokers/mqtt/client-internals.ts'
import { limitConsumer } from '../../../brokers/mqtt/index.ts'
import { Gate, type Logger, limit, type Middleware } from '../../../src/index.ts'
import { connectClient } from '../../support/mqtt-client.ts'
import { until } from '../../support/wait.ts'
import { openScene } from './harness.ts'
import { publicClient } from './public-api.ts'

/** A logger that keeps what is warned of. */
function loggerOf(lines: string[]): Logger {
  const ignore = (): void => {}
  const warn = (_fields: object, text?: string): void => void lines.push(text ?? '')
  return { debug: ignore, info: ignore, warn, error: ignore }
}

describe('members of MQTT.js 5 that are not public', () => {
  it('are where they are looked for', async () => {
    await using scene = await openScene({ rules: [] })
    const { client } = scene.consumer
    expect(findMissingClientInternals(client)).toEqual([])
    expect((client.constructor as { VERSION?: unknown }).VERSION).toMatch(/^5\./)
  })

  it('are warned of when they are missing, with the version', async () => {
    await using scene = await openScene({ rules: [] })
    await using other = await connectClient({ port: scene.port, clientId: 'other' })
    const lines: string[] = []
    const options = { handler: () => {}, logger: loggerOf(lines) }
    limitConsumer(other.client, new Gate(), options).close()
    // The client of a test keeps what it receives, which is another warning.
    expect(lines.filter(line => line.includes('public API'))).toEqual([])
    limitConsumer(publicClient(other.client), new Gate(), options).close()
    expect(lines.filter(line => line.includes('public API'))).toEqual([
      expect.stringMatching(/^MQTT\.js 5\.\S+ has no _sendPacket, _releaseIncomingQoS2Publish/),
    ])
  })
})

describe.each([
  { isPublic: false, name: 'all of its client' },
  { isPublic: true, name: 'the public API of its client alone' },
])('a consumer by $name', ({ isPublic }) => {
  it.each([
    [4, 1],
    [4, 2],
    [5, 1],
    [5, 2],
  ] as const)('acknowledges all a distant store decides, MQTT %i, QoS %i', async (version, qos) => {
    const distant: Middleware = async (_message, next) => {
      await new Promise(resolve => setImmediate(resolve))
      return next()
    }
    const rules = [distant, limit({ name: 'r', rate: '1 per 1000s burst 20', exceeded: 'reject' })]
    const client = { clean: false, properties: { sessionExpiryInterval: 60, receiveMaximum: 10 } }
    await using scene = await openScene({ version, qos, isPublic, rules, client })
    await scene.publish(30)
    await until(() => scene.limits.stats().received === 30 && scene.handled.length === 20)
    expect(scene.handled.map(({ text }) => Number(text))).toEqual(Array.from({ length: 20 }, (_, n) => n))
    // A ping is answered after all that was sent before it.
    scene.consumer.client.sendPing()
    await new Promise(resolve => scene.consumer.client.once('packetreceive', resolve))
    await scene.consumer.close()
    // What was not acknowledged comes again.
    await using again = await connectClient({
      port: scene.port,
      protocolVersion: version,
      clientId: 'consumer',
      ...client,
    })
    await scene.sender.publish('in/a', 'last', { qos })
    await again.received(1)
    expect(again.messages.map(({ text }) => text)).toEqual(['last'])
  })
})
