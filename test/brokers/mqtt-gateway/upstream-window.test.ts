import { expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { serveGateway, startGateway } from './harness.ts'
import { publishPacket, startScriptedBroker } from './raw-peer.ts'

it.each([4, 5] as const)(
  'a client of version %i that ignores the window of the broker loses no message of QoS 2',
  async protocolVersion => {
    await using scene = await startGateway()
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('a', 2)
    const client = await scene.connect({ protocolVersion })
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => client.publish('a', String(index), { qos: 2 })),
    )
    await receiver.received(100)
    expect(receiver.messages.map(({ text }) => Number(text)).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, index) => index),
    )
  },
)

it.each([4, 5] as const)(
  'PUBRELs behind more messages than are read ahead do not stop a client of version %i',
  async protocolVersion => {
    await using scene = await startGateway()
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('a', 2)
    const client = await scene.connect({ protocolVersion })
    const payload = 'x'.repeat(2_000)
    const numbers = Array.from({ length: 200 }, (_, index) => String(index))
    await Promise.all(numbers.map(number => client.publish('a', `${number} ${payload}`, { qos: 2 })))
    await receiver.received(200)
    expect(receiver.messages.map(({ text }) => text.split(' ')[0])).toEqual(numbers)
  },
)

it.each([
  ['the option', 4, undefined],
  ['the Receive Maximum of the broker', 5, 3],
] as const)('no more messages are unacknowledged than by %s', async (_, protocolVersion, receiveMaximum) => {
  const gate = new Gate()
  gate.use('q', limit({ name: 'r', rate: '1000/s burst 1', exceeded: 'queue' }))
  await using broker = await startScriptedBroker()
  await using scene = await serveGateway(() => broker.port, { gate, gateway: { window: 3 } })
  const client = await scene.connectRaw()
  client.sendConnect({ clientId: 'c', protocolVersion })
  const upstream = await broker.accepted()
  upstream.setVersion(protocolVersion)
  upstream.send({
    ...{ cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false },
    ...(receiveMaximum === undefined ? {} : { properties: { receiveMaximum } }),
  })
  const topics = ['a', 'q', 'q', 'q', 'a', 'a', 'q', 'a', 'a', 'a']
  client.send(
    ...topics.map((topic, index) => publishPacket(topic, { qos: 1, messageId: index + 1 })),
    publishPacket('last'),
  )
  let answered = 0
  while (answered < topics.length) {
    await upstream.received('publish', Math.min(topics.length, answered + 3))
    const ids = upstream.packets.flatMap(packet =>
      packet.cmd === 'publish' && packet.qos === 1 ? [packet.messageId] : [],
    )
    expect(ids.length - answered).toBeLessThanOrEqual(3)
    upstream.send({ cmd: 'puback', messageId: ids[answered]! })
    answered++
    await client.received('puback', answered)
  }
  await upstream.received('publish', topics.length + 1)
  expect(upstream.packets.at(-1)).toMatchObject({ topic: 'last' })
})
