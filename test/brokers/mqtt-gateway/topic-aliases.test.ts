import { expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { serveGateway, startGateway } from './harness.ts'
import { publishPacket, startScriptedBroker } from './raw-peer.ts'

const alias = (topicAlias: number) => ({ properties: { topicAlias } })

it('a message that uses the alias of a refused one gets its topic', async () => {
  const gate = new Gate()
  gate.use('a/#', limit({ name: 'small', maxSize: '5B', exceeded: 'drop' }))
  await using scene = await startGateway({ gate, config: ['max_topic_alias 10'] })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('#', 1)
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion: 5 })
  client.send(
    publishPacket('a/first', { payload: 'too large', ...alias(1) }),
    publishPacket('', { payload: '1', qos: 1, messageId: 1, ...alias(1) }),
    publishPacket('', { payload: '2', ...alias(1) }),
    publishPacket('a/other', { payload: '3', ...alias(1) }),
    publishPacket('', { payload: '4', ...alias(1) }),
  )
  await receiver.received(4)
  expect(receiver.messages.map(({ topic, text }) => `${topic} ${text}`)).toEqual([
    'a/first 1',
    'a/first 2',
    'a/other 3',
    'a/other 4',
  ])
  await client.roundTrip()
  expect(scene.gateway.stats().rewrites).toEqual([{ packet: 'publish', count: 1 }])
})

it('a held message does not use its alias, which may mean another topic when it passes', async () => {
  const gate = new Gate()
  gate.use('a/#', limit({ name: 'r', rate: '5/s burst 1', exceeded: 'queue' }))
  await using scene = await startGateway({ gate })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('#', 1)
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion: 5 })
  client.send(
    publishPacket('a/1', { payload: '1', ...alias(1) }),
    publishPacket('', { payload: '2', ...alias(1) }),
    publishPacket('b', { payload: '3', ...alias(1) }),
    publishPacket('', { payload: '4', ...alias(1) }),
  )
  await receiver.received(4)
  expect(receiver.messages.map(({ topic, text }) => `${topic} ${text}`)).toEqual([
    'a/1 1',
    'b 3',
    'b 4',
    'a/1 2',
  ])
})

it('a delivery that uses the alias of a withheld one gets its topic', async () => {
  const gate = new Gate()
  gate.use('a/#', limit({ name: 'small', maxSize: '5B', exceeded: 'drop', on: 'deliver' }))
  await using broker = await startScriptedBroker()
  await using scene = await serveGateway(() => broker.port, { gate })
  const client = await scene.connectRaw()
  client.sendConnect({ clientId: 'c', protocolVersion: 5, properties: { topicAliasMaximum: 3 } })
  const upstream = await broker.accepted()
  upstream.setVersion(5)
  upstream.send(
    { cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false },
    publishPacket('a/x', { payload: 'too large', qos: 1, messageId: 3, ...alias(2) }),
    publishPacket('', { payload: '1', ...alias(2) }),
    publishPacket('', { payload: '2', ...alias(2) }),
  )
  await client.received('publish', 2)
  expect(client.packets.filter(({ cmd }) => cmd === 'publish')).toMatchObject([
    { topic: 'a/x', properties: { topicAlias: 2 } },
    { topic: '', properties: { topicAlias: 2 } },
  ])
  expect(await upstream.received('puback')).toMatchObject({ messageId: 3 })
})
