import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adaptive, Gate, limit, type Middleware } from '../../src/index.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'
import { startBroker } from './aedes/harness.ts'
import { openScene } from './mqtt/harness.ts'
import { GENERATIONS } from './nats/client-versions.ts'
import { natsGate, Scene } from './nats/scene.ts'

/** The first of a topic passes, the rest waits. */
const WAITING: Middleware = limit({ name: 'all', rate: '1 per 20s', per: 'topic', exceeded: 'throttle' })

/** Goes by what brokers tell; ten that wait are a load of 100 %. */
function byMeasures(...signals: ('error-rate' | 'consumer-lag')[]): ReturnType<typeof adaptive> {
  return adaptive({ signals: [{ 'queue-depth': 10 }, ...signals], everyMs: 50 })
}

describe('a limited aedes broker', () => {
  it('tells its gate how many messages wait, as long as it is attached', async () => {
    const scale = byMeasures()
    const test = await startBroker({ gate: new Gate().use(scale, WAITING) })
    try {
      const client = await test.connect()
      for (let n = 0; n < 9; n++) client.publish('t', 'x', { qos: 1 })
      await until(() => scale.report().scaled?.factor === 0.5, { what: 'lower limits' })
      await until(() => test.gate.loadSources.queueDepth() === 8)
      await until(() => scale.report().load === 0.8)
      expect(scale.report()).toMatchObject({ signals: { 'queue-depth': 8 }, scaled: { reason: 'load high' } })
      expect(test.gate.loadSources.reports('handlers')).toBe(false)
      test.limits.detach()
      expect(test.gate.loadSources.queueDepth()).toBeUndefined()
    } finally {
      await test.close()
    }
  })
})

describe('a limited MQTT consumer', () => {
  it('tells its gate how many messages wait, and which failed', async () => {
    const scale = byMeasures('error-rate')
    await using scene = await openScene({
      rules: [scale, limit({ name: 'all', rate: '600/h burst 12', exceeded: 'throttle' })],
      handler: () => {
        throw new Error('out of order')
      },
    })
    await scene.publish(20)
    await until(() => scale.report().signals['error-rate'] === 1, { what: 'failures' })
    expect(scale.report().scaled).toEqual({ factor: 0.5, reason: 'load high' })
    await until(() => scene.limits.stats().held > 0, { what: 'messages that wait' })
    expect(scene.gate.loadSources.queueDepth()).toBe(scene.limits.stats().held)
    scene.limits.close()
    expect(scene.gate.loadSources.queueDepth()).toBeUndefined()
  })
})

describe.each(GENERATIONS)('limited consumers of $name', generation => {
  let server: NatsServer
  beforeAll(async () => {
    server = await startNats({ jetstream: true })
  })
  afterAll(() => server.stop())

  it('tell their gate how many messages wait, and which failed', async () => {
    const scale = byMeasures('error-rate')
    await using scene = await Scene.open(generation, server)
    const gate = natsGate(scale, limit({ name: 'all', rate: '600/h burst 12', exceeded: 'throttle' }))
    const limits = scene.limit(gate)
    limits.subscribe(scene.nc, 'a', {
      callback: () => {
        throw new Error('out of order')
      },
    })
    await scene.nc.flush()
    await scene.publish('a', 20)
    await until(() => scale.report().signals['error-rate'] === 1, { what: 'failures' })
    await until(() => gate.loadSources.queueDepth() === 8, { what: 'eight that wait' })
    await limits.close()
    expect(gate.loadSources.queueDepth()).toBeUndefined()
  })

  it('tell their gate how far they are behind', async () => {
    const scale = byMeasures('consumer-lag')
    await using scene = await Scene.open(generation, server)
    const gate = natsGate(scale, limit({ name: 'all', rate: '1000/s' }))
    await scene.js.addStream('lag', ['lag.>'])
    await scene.store('lag.a', 20)
    const consumer = await scene.js.addConsumer('lag', 'c', { max_ack_pending: 5 })
    const limits = scene.limit(gate)
    let begun = 0
    await limits.consume(consumer, async () => {
      begun++
      await new Promise(() => {})
    })
    await until(() => begun === 5, { what: 'five at work' })
    expect(gate.loadSources.consumerLag()).toBe(15)
    await until(() => scale.report().signals['consumer-lag'] === 15)
    await limits.close()
    expect(gate.loadSources.consumerLag()).toBeUndefined()
  })
})
