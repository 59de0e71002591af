// Works off what a fleet sends, with a limit for each device:  BROKER=mqtt://127.0.0.1:1883 node examples/mqtt-fleet-consumer.js
import { connect } from 'mqtt'
import { exempt, Gate, limit } from 'topicgate'
import { limitConsumer } from 'topicgate/mqtt'

const gate = new Gate()
gate.use(exempt({ name: 'alarms', topics: ['fleet/+/+/alarm'] }))
gate.use(
  'fleet/{site}/{device}/telemetry/#',
  limit({ name: 'telemetry', limit: '10/s burst 20', per: ['site', 'device'], exceeded: 'redirect' }),
)
gate.use(
  'fleet/{site}/{device}/state',
  limit({ name: 'state', limit: '1/s', per: ['site', 'device'], exceeded: 'latest' }),
)
// What the database behind it bears; the broker keeps the rest.
gate.use(limit({ name: 'database', limit: '500/s burst 50', exceeded: 'throttle' }))

const url = process.env.BROKER ?? 'mqtt://127.0.0.1:1883'
const client = connect(url, {
  clientId: 'fleet-worker',
  protocolVersion: 5,
  clean: false,
  properties: { sessionExpiryInterval: 3_600 },
})
// What is redirected is published by a client of its own.
const deadLetter = connect(url, { clientId: 'fleet-worker-dead-letters', protocolVersion: 5 })
for (const each of [client, deadLetter]) each.on('error', error => console.error(error.message))

const limits = limitConsumer(client, gate, {
  deadLetter,
  // Stands for your work; awaited before the message is acknowledged.
  async handler(topic, payload) {
    await new Promise(resolve => setImmediate(resolve))
    if (topic.endsWith('/alarm') || topic.endsWith('/state')) console.log(`${topic} ${payload}`)
  },
})
await client.subscribeAsync('fleet/#', { qos: 1 })
console.log('ready')

process.once('SIGTERM', async () => {
  await limits.drain()
  const { delivered, redirected, superseded } = limits.stats()
  console.log(`ending: ${delivered} delivered, ${redirected} redirected, ${superseded} superseded`)
  await Promise.all([client.endAsync(), deadLetter.endAsync()])
  await gate.close()
})
