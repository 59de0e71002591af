// limitBroker on aedes, with publishes of an MQTT.js client at each QoS.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { connectAsync } from 'mqtt'
import { Gate, limit } from 'topicgate'
import { limitBroker, limitServer } from 'topicgate/aedes'
import { expectEqual, until } from './checks.js'

const gate = new Gate().use(limit({ name: 'r', limit: '2/day', per: 'topic', exceeded: 'drop' }))
gate.use('later', limit({ name: 'held', limit: '1 per 200ms', exceeded: 'throttle' }))
const broker = await Aedes.createBroker()
const limits = limitBroker(broker, gate)
const server = createServer(socket => void broker.handle(socket))
limitServer(server, limits)
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const client = await connectAsync(`mqtt://127.0.0.1:${server.address().port}`)
const received = []
client.on('message', (topic, payload) => received.push(`${topic} ${payload}`))
await client.subscribeAsync('#', { qos: 1 })
for (const qos of [0, 1, 2]) {
  for (const text of ['1', '2', '3', '4']) await client.publishAsync(`qos${qos}`, text, { qos })
}
for (const text of ['1', '2']) await client.publishAsync('later', text, { qos: 1 })
await until('the last message', () => received.includes('later 2'))
for (const topic of ['qos0', 'qos1', 'qos2', 'later']) {
  const own = received.filter(line => line.startsWith(topic)).join()
  expectEqual(topic, own, `${topic} 1,${topic} 2`)
}
await client.endAsync(true)
await new Promise(resolve => broker.close(resolve))
server.close()
await gate.close()
