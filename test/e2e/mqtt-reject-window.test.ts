import { describe, expect, it } from 'vitest'
import { limit } from '../../src/index.ts'
import { openScene } from '../brokers/mqtt/harness.ts'
import { until } from '../support/wait.ts'

const MESSAGES = 100

describe('a Mosquitto 2.0.11 whose consumer refuses', () => {
  const open = (qos: 1 | 2, exceeded: 'drop' | 'reject') =>
    openScene({ version: 5, qos, rules: [limit({ name: 'r', rate: '1 per 1000s', exceeded })] })

  // On a busy machine it may hand its messages on one by one, and then gives the room back.
  it('gives no room back for what was rejected at QoS 2, and soon delivers nothing more', {
    retry: 4,
  }, async () => {
    await using scene = await open(2, 'reject')
    await scene.publish(MESSAGES)
    // QoS 0 needs no room.
    await scene.publish(1, { topic: 'in/last', qos: 0 })
    await until(() => scene.limits.stats().dropped === 1)
    await new Promise(resolve => setTimeout(resolve, 300))
    const { received, rejected, delivered } = scene.limits.stats()
    expect(received).toBeLessThan(MESSAGES / 2)
    expect(received).toBe(delivered + rejected + 1)
    await scene.gate.reset()
    await scene.publish(1, { text: () => 'later' })
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(scene.limits.stats()).toMatchObject({ received, delivered: 1 })
  })

  it.each([
    [1, 'reject'],
    [2, 'drop'],
  ] as const)('goes on at QoS %d after a %s', async (qos, exceeded) => {
    await using scene = await open(qos, exceeded)
    await scene.publish(MESSAGES)
    await until(() => {
      const { delivered, rejected, dropped } = scene.limits.stats()
      return delivered + rejected + dropped === MESSAGES
    })
    const refused = MESSAGES - 1
    expect(scene.limits.stats()).toMatchObject({
      ...{ delivered: 1, rejected: qos === 1 ? refused : 0, dropped: qos === 1 ? 0 : refused },
    })
    await scene.gate.reset()
    await scene.publish(1, { text: () => 'later' })
    await until(() => scene.handled.at(-1)?.text === 'later')
  })
})
