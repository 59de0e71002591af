import { expect, it } from 'vitest'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from '../nats/client-versions.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const REFUSED = `-ERR 'Permissions Violation for Publish with Reply of "tele.victim"'`

it.each([
  ['the API', '$JS.API.INFO'],
  ['a pull of messages', '$JS.API.CONSUMER.MSG.NEXT.free.pull'],
  ['an acknowledgement', '$JS.ACK.free.pull.1.1.1.1.0'],
  ['the system', '$SYS.REQ.USER.INFO'],
])('a request to %s cannot send its answers past the limits', async (_, subject) => {
  const gate = natsGate().use('tele.>', limit({ name: 'tele', rate: '5/hour', exceeded: 'drop' }))
  await using scene = await startGateway({ gate, server: { jetstream: true } })
  const direct = await GENERATIONS[0]!.connect(scene.server.url)
  const js = await GENERATIONS[0]!.jetstream(direct)
  await js.addStream('free', ['free.>'])
  for (let index = 0; index < 10; index++) await js.publish('free.a', 'x')
  const consumer = JSON.stringify({
    stream_name: 'free',
    config: { durable_name: 'pull', ack_policy: 'explicit' },
  })
  await direct.request('$JS.API.CONSUMER.DURABLE.CREATE.free.pull', consumer, { timeout: 2_000 })
  let received = 0
  direct.subscribe('tele.victim', { callback: () => received++ })
  await direct.flush()

  await using client = await RawClient.open(scene.port)
  await client.connect()
  client.send('SUB _INBOX.own 1\r\n')
  const request = '{"batch":10}'
  client.send(`PUB ${subject} tele.victim ${request.length}\r\n${request}\r\n`.repeat(20))
  client.send(`PUB $JS.API.INFO _INBOX.own 0\r\n\r\nPUB tele.victim 1\r\nx\r\n`)
  await client.receives('MSG _INBOX.own 1')
  await client.flush()
  await until(() => received > 0)
  await direct.flush()
  expect(received).toBe(1)
  expect(client.lines.filter(line => line === REFUSED)).toHaveLength(20)
  expect(scene.gateway.stats().dropped).toBe(20)
  await direct.close()
})

it('an acknowledgement with such a reply does not go before held messages either', async () => {
  const gate = natsGate().use('tele.>', limit({ name: 'tele', rate: '1/hour', exceeded: 'throttle' }))
  await using scene = await startGateway({ gate })
  await using witness = await RawClient.open(scene.server.port)
  await witness.connect()
  witness.send('SUB tele.> 1\r\nSUB $JS.ACK.> 2\r\n')
  await witness.flush()
  await using client = await RawClient.open(scene.port)
  await client.connect()
  client.send('PUB tele.a 1\r\na\r\nPUB tele.a 1\r\nb\r\n')
  client.send('PUB $JS.ACK.s.c.1.1.1.1.0 tele.victim 1\r\nc\r\nPUB $JS.ACK.s.c.1.1.1.1.0 1\r\nd\r\n')
  await witness.receives('\r\nd\r\n')
  expect(witness.received).not.toContain('\r\nc\r\n')
})
