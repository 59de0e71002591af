import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { startGateway } from './harness.ts'

describe.each([4, 5] as const)('a client of MQTT version %i', protocolVersion => {
  it.each([0, 1, 2] as const)('publishes and subscribes through the gateway at QoS %i', async qos => {
    await using scene = await startGateway()
    const [receiver, sender] = await Promise.all([
      scene.connect({ protocolVersion }),
      scene.connect({ protocolVersion }),
    ])
    await receiver.subscribe('a/#', qos)
    for (let index = 0; index < 100; index++) await sender.publish('a/b', `message ${index}`, { qos })
    await receiver.received(100)
    expect(receiver.messages.map(({ text }) => text)).toEqual(
      Array.from({ length: 100 }, (_, index) => `message ${index}`),
    )
    expect(receiver.messages.every(({ packet }) => packet.qos === qos)).toBe(true)
  })

  it.each([0, 1, 2] as const)('gets an acknowledgement for a dropped message at QoS %i', async qos => {
    const gate = new Gate()
    gate.use('a/#', limit({ name: 'r', rate: '1/hour burst 10', exceeded: 'drop' }))
    await using scene = await startGateway({ gate })
    const [receiver, sender] = await Promise.all([
      scene.connectDirectly(),
      scene.connect({ protocolVersion }),
    ])
    await receiver.subscribe('#', 1)
    await Promise.all(Array.from({ length: 40 }, (_, index) => sender.publish('a/b', String(index), { qos })))
    await sender.publish('end', 'x', { qos })
    await until(() => receiver.messages.at(-1)?.topic === 'end')
    expect(receiver.messages).toHaveLength(11)
    expect(scene.gateway.stats().dropped).toBe(30)
  })
})
