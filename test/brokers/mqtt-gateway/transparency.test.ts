import type { Socket } from 'node:net'
import type mqttPacket from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { serveGateway } from './harness.ts'
import { connectPacket, publishPacket, startScriptedBroker } from './raw-peer.ts'

type Kind = readonly [name: string, packet: mqttPacket.Packet | Buffer]

const userProperties = { b: ['2', '1'], a: '' }
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** Packets of a client in any version. */
const FROM_CLIENT: readonly Kind[] = [
  ['PUBLISH QoS 0', publishPacket('a')],
  ['PUBLISH without payload', publishPacket('a', { payload: '' })],
  ['PUBLISH retained', publishPacket('a', { retain: true })],
  ['PUBLISH QoS 1', publishPacket('a/b', { qos: 1, messageId: 1 })],
  ['PUBLISH QoS 1 again', publishPacket('a/b', { qos: 1, messageId: 1, dup: true })],
  ['PUBLISH QoS 1 retained', publishPacket('a/b', { qos: 1, messageId: 65_535, retain: true })],
  ['PUBLISH QoS 2', publishPacket('a/b', { qos: 2, messageId: 2 })],
  ['PUBLISH QoS 2 again', publishPacket('a/b', { qos: 2, messageId: 2, dup: true })],
  ['PUBREL', { cmd: 'pubrel', messageId: 2 }],
  ['PUBREL of an unknown id', { cmd: 'pubrel', messageId: 999 }],
  ['PUBLISH of 127 bytes', publishPacket('a', { payload: Buffer.alloc(124) })],
  ['PUBLISH of 128 bytes', publishPacket('a', { payload: Buffer.alloc(125) })],
  ['PUBLISH of 20,000 bytes', publishPacket('a', { payload: Buffer.alloc(20_000, 1) })],
  ['PUBLISH of 300,000 bytes', publishPacket('a', { payload: Buffer.alloc(300_000, 2) })],
  ['PUBLISH on a topic of 65,535 bytes', publishPacket('t'.repeat(65_535))],
  ['PUBLISH on a topic with other letters', publishPacket('ä/ß/💡')],
  ['PUBLISH on a topic with wildcards', publishPacket('a/+/#')],
  ['PUBLISH on $SYS', publishPacket('$SYS/a')],
  ['SUBSCRIBE', { cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: 'a/#', qos: 2 }] }],
  ['SUBSCRIBE of many filters', many('subscribe', 100)],
  ['SUBSCRIBE shared', { cmd: 'subscribe', messageId: 5, subscriptions: [{ topic: '$share/g/a', qos: 1 }] }],
  [
    'SUBSCRIBE with an invalid filter',
    { cmd: 'subscribe', messageId: 6, subscriptions: [{ topic: 'a#', qos: 1 }] },
  ],
  ['UNSUBSCRIBE', { cmd: 'unsubscribe', messageId: 7, unsubscriptions: ['a/#'] }],
  ['UNSUBSCRIBE of many filters', many('unsubscribe', 100)],
  ['PUBACK', { cmd: 'puback', messageId: 8 }],
  ['PUBREC', { cmd: 'pubrec', messageId: 9 }],
  ['PUBCOMP', { cmd: 'pubcomp', messageId: 9 }],
  ['PINGREQ', { cmd: 'pingreq' }],
  ['PINGREQ with reserved bits', hex('cf 00')],
  ['PUBACK without an id', hex('40 00')],
  ['packet of the reserved type 0', hex('00 00')],
  ['packet of a broker', hex('20 02 00 00')],
]

const FROM_OLDER_CLIENT: readonly Kind[] = [
  ['PUBLISH on a topic that is not UTF-8', hex('30 04 0002 fffe')],
  ['PUBLISH with a long remaining length', hex('30 85 80 00 0001 61 3132')],
]

const FROM_CLIENT_V5: readonly Kind[] = [
  ['PUBLISH on a topic that is not UTF-8', hex('30 05 0002 fffe 00')],
  ['PUBLISH with a long remaining length', hex('30 85 80 00 0001 61 00 31')],
  ['PUBLISH with all properties', publishPacket('a', { properties: allPublishProperties() })],
  [
    'PUBLISH with user properties in their order',
    hex('30 18 0001 61 13 26 0001 62 0001 31 26 0001 61 0000 26 0001 62 00 00 70'),
  ],
  ['PUBLISH with an unknown property', hex('30 07 0001 61 02 7f 00 78')],
  ['PUBLISH with an alias that was not offered', publishPacket('a', { properties: { topicAlias: 5 } })],
  ['SUBSCRIBE with all options', subscribeWithOptions()],
  [
    'SUBSCRIBE with an identifier',
    {
      ...{
        cmd: 'subscribe',
        messageId: 11,
        properties: { subscriptionIdentifier: 268_435_455, userProperties },
      },
      subscriptions: [{ topic: 'x', qos: 0 }],
    },
  ],
  [
    'UNSUBSCRIBE with user properties',
    { cmd: 'unsubscribe', messageId: 12, unsubscriptions: ['x'], properties: { userProperties } },
  ],
  [
    'PUBACK with a reason',
    { cmd: 'puback', messageId: 13, reasonCode: 0x83, properties: { reasonString: 'no', userProperties } },
  ],
  [
    'PUBREC with a reason',
    { cmd: 'pubrec', messageId: 13, reasonCode: 0x97, properties: { reasonString: 'no' } },
  ],
  [
    'PUBREL with a reason',
    { cmd: 'pubrel', messageId: 14, reasonCode: 0x92, properties: { userProperties } },
  ],
  [
    'AUTH',
    {
      cmd: 'auth',
      reasonCode: 0x19,
      properties: { authenticationMethod: 'm', authenticationData: Buffer.from('d') },
    },
  ],
  ['the shortest AUTH', hex('f0 00')],
]

const FROM_BROKER: readonly Kind[] = [
  ['PUBLISH QoS 0', publishPacket('a')],
  ['PUBLISH retained', publishPacket('a', { retain: true })],
  ['PUBLISH QoS 1', publishPacket('a/b', { qos: 1, messageId: 1 })],
  ['PUBLISH QoS 1 again', publishPacket('a/b', { qos: 1, messageId: 1, dup: true })],
  ['PUBLISH QoS 2', publishPacket('a/b', { qos: 2, messageId: 65_535 })],
  ['PUBREL', { cmd: 'pubrel', messageId: 65_535 }],
  ['PUBLISH of 300,000 bytes', publishPacket('a', { payload: Buffer.alloc(300_000, 2) })],
  ['SUBACK', { cmd: 'suback', messageId: 3, granted: [0, 1, 2, 0x80] }],
  ['UNSUBACK', { cmd: 'unsuback', messageId: 3, granted: [0] }],
  ['PUBACK', { cmd: 'puback', messageId: 1 }],
  ['PUBREC', { cmd: 'pubrec', messageId: 2 }],
  ['PUBCOMP', { cmd: 'pubcomp', messageId: 2 }],
  ['PUBACK of an unknown id', { cmd: 'puback', messageId: 777 }],
  ['PINGRESP', { cmd: 'pingresp' }],
  ['packet of a client', hex('c0 00')],
]

const FROM_BROKER_V5: readonly Kind[] = [
  ['PUBLISH with all properties', publishPacket('a', { properties: allPublishProperties() })],
  [
    'PUBLISH with subscription identifiers',
    publishPacket('a', { properties: { subscriptionIdentifier: [1, 200, 65_536] } }),
  ],
  ['PUBACK without subscribers', { cmd: 'puback', messageId: 1, reasonCode: 0x10 }],
  [
    'PUBREC that refuses',
    { cmd: 'pubrec', messageId: 2, reasonCode: 0x97, properties: { reasonString: 'no', userProperties } },
  ],
  [
    'SUBACK with reasons',
    {
      cmd: 'suback',
      messageId: 3,
      granted: [0, 0x87, 0x9e],
      properties: { reasonString: 'no', userProperties },
    },
  ],
  ['AUTH', { cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'm' } }],
  [
    'DISCONNECT with a reason',
    { cmd: 'disconnect', reasonCode: 0x8e, properties: { reasonString: 'taken over', userProperties } },
  ],
]

function many(cmd: 'subscribe' | 'unsubscribe', count: number): mqttPacket.Packet {
  const topics = Array.from({ length: count }, (_, index) => `many/${index}`)
  return cmd === 'subscribe'
    ? { cmd, messageId: 20, subscriptions: topics.map(topic => ({ topic, qos: 1 })) }
    : { cmd, messageId: 21, unsubscriptions: topics }
}

function allPublishProperties() {
  return {
    payloadFormatIndicator: true,
    messageExpiryInterval: 4_294_967_295,
    responseTopic: 'answer',
    correlationData: Buffer.from([0, 1, 255]),
    contentType: 'application/json',
    userProperties,
  }
}

function subscribeWithOptions(): mqttPacket.Packet {
  return {
    cmd: 'subscribe',
    messageId: 10,
    subscriptions: [
      { topic: 'x', qos: 2, nl: true, rap: true, rh: 2 },
      { topic: 'y', qos: 0, nl: false, rap: true, rh: 1 },
    ],
  }
}

/** A policy with rules for everything, which refuses nothing. */
function generousGate(): Gate {
  const gate = new Gate()
  for (const on of ['publish', 'subscribe', 'connect', 'deliver'] as const)
    gate.use(limit({ name: on, rate: '1000000/s', per: 'client', on, exceeded: 'drop' }))
  return gate
}

/** Sends bytes in pieces of chance. */
async function sendInPieces(socket: Socket, bytes: Buffer, seed: number): Promise<void> {
  const { int, chance } = random(seed)
  for (let at = 0; at < bytes.length; ) {
    const size = chance(0.5) ? int(1, 12) : int(1, 60_000)
    socket.write(bytes.subarray(at, at + size))
    at += size
    if (chance(0.2)) await new Promise(resolve => setImmediate(resolve))
  }
}

describe.each([3, 4, 5] as const)('with a policy that refuses nothing, version %i', version => {
  const connack: mqttPacket.Packet = {
    ...{ cmd: 'connack', sessionPresent: true, returnCode: 0, reasonCode: 0 },
    ...(version === 5 && {
      properties: {
        sessionExpiryInterval: 100,
        maximumQoS: 1,
        retainAvailable: false,
        maximumPacketSize: 500_000,
        assignedClientIdentifier: 'assigned',
        reasonString: 'welcome',
        userProperties,
        wildcardSubscriptionAvailable: true,
        subscriptionIdentifiersAvailable: true,
        sharedSubscriptionAvailable: false,
        responseInformation: 'r',
        authenticationMethod: 'm',
        authenticationData: Buffer.from('d'),
      },
    }),
  }
  const connect = connectPacket({
    protocolVersion: version,
    clientId: version === 5 ? '' : 'c',
    username: 'user',
    password: Buffer.from('password'),
    clean: version === 5,
    will: {
      ...{ topic: 'will', payload: Buffer.from('gone'), qos: 2, retain: true },
      ...(version === 5 && { properties: { willDelayInterval: 5, contentType: 'text', userProperties } }),
    },
    ...(version === 5 && {
      properties: { sessionExpiryInterval: 7, receiveMaximum: 3, maximumPacketSize: 400_000, userProperties },
    }),
  })
  const fromClient = [...FROM_CLIENT, ...(version === 5 ? FROM_CLIENT_V5 : FROM_OLDER_CLIENT)]
  const fromBroker = version === 5 ? [...FROM_BROKER, ...FROM_BROKER_V5] : FROM_BROKER

  it.each([1, 2, 3])('both sides see the bytes of the other, cut at places of seed %i', async seed => {
    await using broker = await startScriptedBroker()
    await using scene = await serveGateway(() => broker.port, { gate: generousGate() })
    const client = await scene.connectRaw()
    client.setVersion(version)
    const first = client.encode(connect)
    await sendInPieces(client.socket, first, seed)
    const upstream = await broker.accepted()
    upstream.setVersion(version)
    await until(() => upstream.bytes.length >= first.length)
    const answer = upstream.encode(connack)
    const up = fromClient.map(([, packet]) => client.encode(packet))
    const down = fromBroker.map(([, packet]) => upstream.encode(packet))
    await Promise.all([
      sendInPieces(upstream.socket, Buffer.concat([answer, ...down]), seed + 10),
      until(() => client.bytes.length >= answer.length).then(() =>
        sendInPieces(client.socket, Buffer.concat(up), seed + 20),
      ),
    ])
    const sent = Buffer.concat([first, ...up])
    const received = Buffer.concat([answer, ...down])
    await until(() => upstream.bytes.length >= sent.length && client.bytes.length >= received.length, {
      timeoutMs: 10_000,
      what: () =>
        `${upstream.bytes.length} of ${sent.length}, ${client.bytes.length} of ${received.length} bytes`,
    })
    expect(upstream.bytes.equals(sent)).toBe(true)
    expect(client.bytes.equals(received)).toBe(true)
    expect(scene.gateway.stats()).toMatchObject({ answers: [], rewrites: [] })
  })
})

it('the packets are of at least 60 kinds', () => {
  const kinds = [...FROM_CLIENT, ...FROM_CLIENT_V5, ...FROM_BROKER, ...FROM_BROKER_V5]
  expect(kinds.length + 2).toBeGreaterThanOrEqual(60)
})
