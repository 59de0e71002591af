import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { startGateway } from './harness.ts'

/** A gate that refuses all subscriptions under `secret/`. */
function keepSecrets(exceeded: 'reject' | 'disconnect' = 'reject'): Gate {
  const gate = new Gate()
  gate.use('secret/#', limit({ name: 'r', rate: '1/hour burst 1', exceeded, on: 'subscribe' }))
  gate.checkSync({ topic: 'secret/used', on: 'subscribe', size: 0 })
  return gate
}

describe.each([
  [4, 0x80],
  [5, 0x97],
] as const)('a refused filter of a client of version %i', (protocolVersion, code) => {
  it('has its code in its place in the SUBACK', async () => {
    await using scene = await startGateway({ gate: keepSecrets() })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion })
    const topics = ['secret/1', 'a', '$share/g/secret/2', 'b', '$share/g/c', 'secret/#']
    client.send({
      ...{ cmd: 'subscribe', messageId: 9 },
      subscriptions: topics.map((topic, index) => ({ topic, qos: (index % 3) as 0 | 1 | 2 })),
    })
    expect(await client.received('suback')).toMatchObject({
      messageId: 9,
      granted: [code, 1, code, 0, 1, code],
    })
    const other = await scene.connectDirectly()
    for (const topic of ['secret/1', 'secret/2', 'a', 'b', 'c']) await other.publish(topic, 'x')
    await client.received('publish', 3)
    await client.roundTrip()
    expect(client.packets.flatMap(packet => (packet.cmd === 'publish' ? [packet.topic] : []))).toEqual([
      'a',
      'b',
      'c',
    ])
  })

  it('is answered without the broker if all are refused, and can be unsubscribed', async () => {
    await using scene = await startGateway({ gate: keepSecrets() })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion })
    client.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'secret/1', qos: 1 }] })
    expect(await client.received('suback')).toMatchObject({ granted: [code] })
    client.send({ cmd: 'unsubscribe', messageId: 10, unsubscriptions: ['secret/1'] })
    expect(await client.received('unsuback')).toMatchObject({ messageId: 10 })
    expect(scene.upstreams[0]!.bytes.indexOf('secret/1')).toBe(
      scene.upstreams[0]!.bytes.lastIndexOf('secret/1'),
    )
    expect(scene.gateway.stats().subscriptionsRefused).toBe(1)
  })

  it('disconnects its client if the rule says so', async () => {
    await using scene = await startGateway({ gate: keepSecrets('disconnect') })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion })
    client.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'secret/1', qos: 1 }] })
    await client.closed()
    expect(client.count('disconnect')).toBe(protocolVersion === 5 ? 1 : 0)
  })
})

it('the SUBACK of a refused SUBSCRIBE explains it with MQTT 5', async () => {
  await using scene = await startGateway({ gate: keepSecrets() })
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion: 5 })
  client.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'secret/1', qos: 1 }] })
  const suback = (await client.received('suback')) as { properties?: { userProperties?: object } }
  expect(Object.keys(suback.properties?.userProperties ?? {})).toEqual([
    'ratelimit-policy',
    'ratelimit',
    'retry-after',
  ])
})

it('a SUBSCRIBE waits behind held messages', async () => {
  const gate = new Gate()
  gate.use('a', limit({ name: 'r', rate: '20/s burst 1', exceeded: 'throttle' }))
  await using scene = await startGateway({ gate })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('#', 1)
  const client = await scene.connect()
  for (let index = 0; index < 5; index++) void client.publish('a', String(index))
  await client.subscribe('x', 1)
  expect(scene.gateway.stats().held).toBe(0)
  await receiver.received(5)
})
