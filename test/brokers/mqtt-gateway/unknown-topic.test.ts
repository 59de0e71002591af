import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { startGateway } from './harness.ts'
import { publishPacket, RawPeer } from './raw-peer.ts'

describe('a message without a topic', () => {
  it.each([
    ['and without an alias', undefined, 0x82],
    ['and with an alias that was never set', 7, 0x82],
    ['and with an alias that the broker does not accept', 11, 0x94],
  ])('%s ends the connection as the broker does', async (_name, topicAlias, code) => {
    const gate = new Gate().use(limit({ name: 'r', rate: '1/s', exceeded: 'drop' }))
    await using scene = await startGateway({ gate, config: ['max_topic_alias 10'] })
    const properties = topicAlias === undefined ? {} : { topicAlias }
    const packet = publishPacket('', { properties })
    for (const client of [await RawPeer.connect(scene.broker.port), await scene.connectRaw()]) {
      await client.open({ clientId: 'c', protocolVersion: 5 })
      client.send(packet)
      await client.closed()
      expect(client.packets.at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: code })
    }
    expect(scene.gateway.stats()).toMatchObject({ malformed: 1 })
  })

  it('ends the connection before MQTT 5, and messages before it pass', async () => {
    await using scene = await startGateway()
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('a', 0)
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c' })
    const [upstream] = scene.upstreams
    client.send(publishPacket('a'), publishPacket(''), publishPacket('a'))
    await client.closed()
    await until(() => upstream!.socket.closed)
    await receiver.received(1)
    expect(receiver.messages).toHaveLength(1)
  })
})
