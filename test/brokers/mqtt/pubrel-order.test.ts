import { describe, expect, it } from 'vitest'
import { type ConsumerLimiter, limitConsumer } from '../../../brokers/mqtt/index.ts'
import { Gate, limit, type Middleware } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { FaultProxy } from '../../support/fault-proxy.ts'
import { startMosquitto } from '../../support/mosquitto.ts'
import { connectClient } from '../../support/mqtt-client.ts'
import { until } from '../../support/wait.ts'

const QUEUED = limit({ name: 'r', rate: '1 per 10ms burst 1', exceeded: { queue: { order: 'arrival' } } })
const ALL = ['0', '1', '2', '3', '4']

interface Scene extends AsyncDisposable {
  readonly proxy: FaultProxy
  readonly clock: FakeClock
  readonly limits: ConsumerLimiter
  readonly handled: readonly string[]
  isConnected(): boolean
  publish(...texts: string[]): Promise<void>
}

/** A consumer at QoS 2 on MQTT 5, whose PUBRECs do not reach its broker yet. */
async function openScene(rule: Middleware, client: Readonly<Record<string, unknown>> = {}): Promise<Scene> {
  const broker = await startMosquitto()
  const proxy = await FaultProxy.start(broker.port)
  const consumer = await connectClient({
    ...{ port: proxy.port, protocolVersion: 5, clientId: 'consumer', ...client },
  })
  const sender = await connectClient({ port: broker.port, protocolVersion: 5, clientId: 'sender' })
  const clock = new FakeClock()
  const gate = new Gate({ clock }).use(rule)
  const handled: string[] = []
  const limits = limitConsumer(consumer.client, gate, {
    handler: (_topic, payload) => void handled.push(payload.toString()),
  })
  await consumer.subscribe('in/#', 2)
  proxy.fault = 'hold-requests'
  return {
    ...{ proxy, clock, limits, handled },
    isConnected: () => consumer.client.connected,
    publish: async (...texts) => {
      const before = limits.stats().received
      for (const text of texts) await sender.publish('in/a', text, { qos: 2 })
      await until(() => limits.stats().received === before + texts.length)
    },
    [Symbol.asyncDispose]: async () => {
      limits.close()
      await Promise.all([consumer.close(), sender.close()])
      await gate.close()
      await proxy.stop()
      await broker.stop()
    },
  }
}

describe('messages of QoS 2 on MQTT 5 that a rule queues', () => {
  it('follow one that passed before them, whose PUBREL is late', async () => {
    await using scene = await openScene(QUEUED)
    await scene.publish(...ALL)
    scene.clock.advance(20)
    expect(scene.handled).toEqual([])
    scene.proxy.fault = 'none'
    await until(() => scene.handled.length === 3)
    expect(scene.handled).toEqual(['0', '1', '2'])
    // All the same, a queue does not wait for anything but older messages.
    scene.clock.advance(20)
    await until(() => scene.handled.length === 5)
    expect(scene.handled).toEqual(ALL)
  })

  it('do not wait for their PUBREL if none that passed before them does', async () => {
    await using scene = await openScene(QUEUED)
    scene.proxy.fault = 'none'
    await scene.publish('0')
    await until(() => scene.handled.length === 1)
    scene.proxy.fault = 'hold-requests'
    await scene.publish('1')
    scene.clock.advance(10)
    expect(scene.handled).toEqual(['0', '1'])
    // Its PUBREL does not bring it again.
    scene.proxy.fault = 'none'
    scene.clock.advance(1_000)
    await scene.publish('2')
    await until(() => scene.handled.length === 3)
    expect(scene.handled).toEqual(['0', '1', '2'])
  })

  it('are not handled before an older one, if only the latest is kept', async () => {
    await using scene = await openScene(limit({ name: 'r', rate: '1 per 10ms', exceeded: 'latest' }))
    await scene.publish(...ALL)
    scene.clock.advance(20)
    expect(scene.handled).toEqual([])
    scene.proxy.fault = 'none'
    await until(() => scene.handled.length === 2)
    expect(scene.handled).toEqual(['0', '4'])
  })

  it('are handled in order when a session without a future ends', async () => {
    await using scene = await openScene(QUEUED)
    await scene.publish(...ALL)
    scene.clock.advance(20)
    scene.proxy.fault = 'reset'
    await until(() => !scene.isConnected() && scene.handled.length === 3)
    expect(scene.handled).toEqual(['0', '1', '2'])
    scene.clock.advance(20)
    expect(scene.handled).toEqual(ALL)
  })

  it.each([
    ['PUBRECs', 'hold-requests'],
    ['PUBRELs', 'hold-answers'],
  ] as const)(
    'are handled once and in order over a connection that is reset with its %s',
    async (_packets, fault) => {
      const properties = { sessionExpiryInterval: 600 }
      await using scene = await openScene(QUEUED, { clean: false, reconnectPeriod: 10, properties })
      await scene.publish(...ALL)
      scene.clock.advance(20)
      scene.proxy.fault = fault
      await until(() => scene.proxy.heldChunks > 0)
      scene.proxy.fault = 'reset'
      await until(() => !scene.isConnected())
      scene.clock.advance(10)
      expect(scene.handled).toEqual([])
      scene.proxy.fault = 'none'
      await until(() => {
        scene.clock.advance(10)
        return scene.handled.length === 5
      })
      await scene.publish('5')
      await until(() => {
        scene.clock.advance(10)
        return scene.handled.length === 6
      })
      expect(scene.handled).toEqual([...ALL, '5'])
    },
  )

  it('are handled in order when the broker has lost the session', async () => {
    const properties = { sessionExpiryInterval: 0 }
    await using scene = await openScene(QUEUED, { clean: false, reconnectPeriod: 10, properties })
    await scene.publish(...ALL)
    scene.clock.advance(20)
    scene.proxy.fault = 'reset'
    await until(() => !scene.isConnected())
    expect(scene.handled).toEqual([])
    scene.proxy.fault = 'none'
    await until(() => scene.handled.length === 3)
    scene.clock.advance(20)
    expect(scene.handled).toEqual(ALL)
  })

  it('are handled in order when the limiter drains or closes', async () => {
    for (const end of ['drain', 'close'] as const) {
      await using scene = await openScene(QUEUED)
      await scene.publish(...ALL)
      scene.clock.advance(20)
      if (end === 'drain') await scene.limits.drain(0)
      else scene.limits.close()
      expect(scene.handled).toEqual(ALL)
    }
  })
})

it('a message of QoS 2 that is held before its PUBREC is handled after a clean session has ended', async () => {
  await using scene = await openScene(limit({ name: 'r', rate: '1 per 10ms', exceeded: 'throttle' }))
  await scene.publish('0', '1')
  scene.proxy.fault = 'reset'
  await until(() => !scene.isConnected())
  scene.clock.advance(20)
  expect(scene.handled).toEqual(['0', '1'])
})
