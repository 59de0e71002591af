// limitNats on a subscription and a pull consumer, with nats 2 and @nats-io 3.
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import * as three from '@nats-io/transport-node'
import * as two from 'nats'
import { Gate, limit } from 'topicgate'
import { limitNats } from 'topicgate/nats'
import { expectEqual, until } from './checks.js'

for (const [name, client] of [
  ['nats', two],
  ['@nats-io', three],
]) {
  const nc = await client.connect({ servers: process.env.NATS_URL })
  const stream = name === 'nats' ? 'two' : 'three'
  const manager = name === 'nats' ? await nc.jetstreamManager() : await jetstreamManager(nc)
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`] })
  await manager.consumers.add(stream, { durable_name: 'd', ack_policy: 'explicit' })
  const js = name === 'nats' ? nc.jetstream() : jetstream(nc)
  const gate = new Gate({ dialect: 'nats' })
  gate.use('plain', limit({ name: 'plain', limit: '2/day', exceeded: 'drop' }))
  gate.use(`${stream}.>`, limit({ name: 'held', rate: '1 per 20ms', exceeded: 'throttle' }))
  const limits = limitNats(gate, { headers: client.headers })
  const handled = []
  const handler = message => void handled.push(`${message.subject} ${message.string()}`)
  limits.subscribe(nc, 'plain', { callback: handler })
  await nc.flush()
  for (const text of ['1', '2', '3', '4']) nc.publish('plain', text)
  for (const text of ['1', '2', '3', '4']) await js.publish(`${stream}.a`, text)
  limits.consume(await js.consumers.get(stream, 'd'), handler)
  await until(name, () => handled.length === 6)
  const textsOf = subject =>
    handled.flatMap(line => (line.startsWith(subject) ? [line.split(' ')[1]] : [])).join()
  expectEqual(`${name}, subscription`, textsOf('plain'), '1,2')
  expectEqual(`${name}, consumer`, textsOf(stream), '1,2,3,4')
  await limits.drain()
  await nc.drain()
  await gate.close()
}
