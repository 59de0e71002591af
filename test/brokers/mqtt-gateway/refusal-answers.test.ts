import { describe, expect, it } from 'vitest'
import { Gate, limit, quota } from '../../../src/index.ts'
import { startGateway } from './harness.ts'
import { publishPacket } from './raw-peer.ts'

/** A gate that refuses all but one message on `a`. */
function refusingGate(exceeded: 'reject' | 'disconnect' = 'reject'): Gate {
  const gate = new Gate()
  gate.use('a', limit({ name: 'r', rate: '1/min burst 1', exceeded }))
  return gate
}

describe('a refused message of MQTT 5', () => {
  it.each([
    [1, 'puback'],
    [2, 'pubrec'],
  ] as const)('at QoS %i gets 0x97 with the reason and the numbers of the rule', async (qos, cmd) => {
    await using scene = await startGateway({ gate: refusingGate() })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion: 5 })
    client.send(publishPacket('a'), publishPacket('a', { qos, messageId: 6 }))
    expect(await client.received(cmd)).toMatchObject({
      messageId: 6,
      reasonCode: 0x97,
      properties: {
        reasonString: expect.stringMatching(
          /^rate limit exceeded: 1 messages per 60 s, 0 left; retry in \d+ s\.$/,
        ),
        userProperties: {
          'ratelimit-policy': '"r";q=1;w=60',
          ratelimit: expect.stringMatching(/^"r";r=0;t=\d+$/),
          'retry-after': expect.stringMatching(/^\d+$/),
        },
      },
    })
    expect(scene.gateway.stats()).toMatchObject({
      rejected: 1,
      answers: [{ packet: cmd, code: 0x97, count: 1 }],
    })
  })

  it.each([
    ['does not want problem information', { requestProblemInformation: false }],
    ['accepts no larger packets', { maximumPacketSize: 40 }],
  ])('gets the code alone if its client %s', async (_, properties) => {
    await using scene = await startGateway({ gate: refusingGate() })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion: 5, properties })
    client.send(publishPacket('a'), publishPacket('a', { qos: 1, messageId: 6 }))
    const puback = (await client.received('puback')) as { reasonCode?: number; properties?: object }
    expect(puback.reasonCode).toBe(0x97)
    expect(puback.properties ?? {}).toEqual({})
  })
})

it.each([
  ['a rate', 0x96, () => limit({ name: 'r', rate: '1/min burst 1', exceeded: 'disconnect' })],
  ['a quota', 0x97, () => quota({ name: 'r', quota: '1/day', exceeded: 'disconnect' })],
  ['a size', 0x95, () => limit({ name: 'r', maxSize: '3B', exceeded: 'disconnect' })],
] as const)(
  'a client that exceeds %s is disconnected with %i after its acknowledgements',
  async (_, code, rule) => {
    const gate = new Gate()
    gate.use('a', rule())
    await using scene = await startGateway({ gate })
    const client = await scene.connectRaw()
    await client.open({ clientId: 'c', protocolVersion: 5 })
    client.send(
      publishPacket('a', { qos: 1, messageId: 1 }),
      publishPacket('a', { qos: 1, messageId: 2, payload: 'large' }),
    )
    await client.closed()
    expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack', 'puback', 'disconnect'])
    expect(client.packets.at(-1)).toMatchObject({ reasonCode: code })
  },
)

it('packets that are too large or malformed close the connection with a reason', async () => {
  await using scene = await startGateway({ gateway: { maxPacketBytes: 1_000 } })
  const large = await scene.connectRaw()
  await large.open({ clientId: 'large', protocolVersion: 5 })
  large.send(publishPacket('a', { payload: Buffer.alloc(2_000) }))
  expect(await large.received('disconnect')).toMatchObject({ reasonCode: 0x95 })
  await large.closed()
  const malformed = await scene.connectRaw()
  await malformed.open({ clientId: 'malformed', protocolVersion: 5 })
  malformed.send(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]))
  expect(await malformed.received('disconnect')).toMatchObject({ reasonCode: 0x81 })
  await malformed.closed()
  expect(scene.gateway.stats()).toMatchObject({ oversized: 1, malformed: 1 })
})
