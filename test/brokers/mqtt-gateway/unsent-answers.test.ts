import { expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { serveGateway } from './harness.ts'
import { publishPacket, startScriptedBroker } from './raw-peer.ts'

it('a client is not read while too many answers to it wait behind an incomplete packet of the broker', async () => {
  const gate = new Gate()
  gate.use('a', limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'drop' }))
  await using broker = await startScriptedBroker()
  await using scene = await serveGateway(() => broker.port, { gate })
  const client = await scene.connectRaw()
  client.sendConnect({ clientId: 'c' })
  const upstream = await broker.accepted()
  upstream.send({ cmd: 'connack', returnCode: 0, sessionPresent: false })
  const delivery = upstream.encode(publishPacket('d'))
  upstream.send(delivery.subarray(0, 3))
  await until(() => client.bytes.length === 4 + 3, { what: 'the start of the packet' })
  const count = 50_000
  const refused = client.encode(publishPacket('a', { qos: 1, messageId: 1 }))
  client.send(publishPacket('a'), Buffer.concat(Array.from({ length: count }, () => refused)))
  await until(() => scene.gateway.stats().clientsUnread === 1, { what: 'the client not to be read' })
  expect(scene.gateway.stats().dropped).toBeLessThan(count)
  upstream.send(delivery.subarray(3))
  await client.received('puback', count)
  expect(scene.gateway.stats()).toMatchObject({ dropped: count, clientsUnread: 0 })
})
