import { expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { startGateway } from './harness.ts'
import { publishPacket } from './raw-peer.ts'

/** A gate that lets one message pass. */
function oneMessage(exceeded: 'drop' | 'reject'): Gate {
  const gate = new Gate()
  gate.use('a/#', limit({ name: 'r', rate: '1/hour burst 1', exceeded }))
  return gate
}

it('a resent message that the broker holds since an earlier connection is finished by the broker', async () => {
  await using scene = await startGateway({ gate: oneMessage('drop') })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('a/#', 2)
  const first = await scene.connectRaw()
  await first.open({ clientId: 'c', clean: false })
  first.send(publishPacket('a/b', { qos: 2, messageId: 7 }))
  await first.received('pubrec')
  first.socket.destroy()
  const second = await scene.connectRaw()
  expect(await second.open({ clientId: 'c', clean: false })).toMatchObject({ sessionPresent: true })
  second.send(publishPacket('a/b', { qos: 2, messageId: 7, dup: true }))
  await second.received('pubrec')
  second.send({ cmd: 'pubrel', messageId: 7 })
  await second.received('pubcomp')
  await receiver.received(1)
  second.send(publishPacket('a/b', { qos: 2, messageId: 8 }))
  await second.received('pubrec', 2)
  second.send({ cmd: 'pubrel', messageId: 8 })
  await second.received('pubcomp', 2)
  expect(receiver.messages).toHaveLength(1)
})

it('resent messages pass no limit, however often their client connects', async () => {
  await using scene = await startGateway({ gate: oneMessage('drop') })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('#', 2)
  for (let connection = 1; connection <= 3; connection++) {
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', clean: false })
    for (let messageId = 1; messageId <= 5; messageId++) {
      client.send(publishPacket('a/b', { qos: 2, messageId, dup: true }))
      await client.received('pubrec', messageId)
      client.send({ cmd: 'pubrel', messageId })
      await client.received('pubcomp', messageId)
    }
    client.socket.destroy()
  }
  expect(scene.gateway.stats().dropped).toBe(3 * 5 - 1)
  const last = await scene.connectDirectly()
  await last.publish('last', '', { qos: 2 })
  await receiver.received(2)
  expect(receiver.messages.map(({ topic }) => topic)).toEqual(['a/b', 'last'])
})

it('a PUBREL that the broker does not know is answered by it, and the connection goes on', async () => {
  await using scene = await startGateway()
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c' })
  client.send({ cmd: 'pubrel', messageId: 99 })
  expect(await client.received('pubcomp')).toMatchObject({ messageId: 99 })
  await client.roundTrip()
  expect(client.isClosed).toBe(false)
})

it('a dropped message of QoS 2 that is sent twice gets two PUBRECs and one decision', async () => {
  await using scene = await startGateway({ gate: oneMessage('drop') })
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c' })
  client.send(publishPacket('a/b', { qos: 0 }))
  client.send(publishPacket('a/b', { qos: 2, messageId: 5 }))
  client.send(publishPacket('a/b', { qos: 2, messageId: 5, dup: true }))
  await client.received('pubrec', 2)
  client.send({ cmd: 'pubrel', messageId: 5 })
  await client.received('pubcomp')
  expect(scene.gateway.stats().dropped).toBe(1)
})

it('a rejected message of QoS 2 ends with its PUBREC with MQTT 5, and its id is free', async () => {
  await using scene = await startGateway({ gate: oneMessage('reject') })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('#', 2)
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion: 5 })
  client.send(publishPacket('a/b'), publishPacket('a/b', { qos: 2, messageId: 5 }))
  expect(await client.received('pubrec')).toMatchObject({ messageId: 5, reasonCode: 0x97 })
  client.send(publishPacket('free', { qos: 2, messageId: 5 }))
  expect(await client.received('pubrec', 2)).toMatchObject({ messageId: 5 })
  client.send({ cmd: 'pubrel', messageId: 5 })
  await client.received('pubcomp')
  await until(() => receiver.messages.some(({ topic }) => topic === 'free'))
})

it('acknowledgements of the gateway that overtake those of the broker confuse no client', async () => {
  const gate = new Gate()
  gate.use('no/#', limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'drop' }))
  await using scene = await startGateway({ gate })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('yes/#', 0)
  for (const protocolVersion of [4, 5] as const) {
    const client = await scene.connect({ protocolVersion })
    const topics = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? 'yes/a' : 'no/a'))
    await Promise.all(
      topics.map((topic, index) => client.publish(topic, 'x', { qos: index % 3 === 0 ? 2 : 1 })),
    )
  }
  expect(await receiver.received(60)).toHaveLength(60)
})
