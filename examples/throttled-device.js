// A device that keeps to its own limit, over reconnects and bursts:  BROKER=mqtt://127.0.0.1:1883 node examples/throttled-device.js
import { connect } from 'mqtt'
import { Gate, limit } from 'topicgate'
import { limitPublishes } from 'topicgate/mqtt'

const client = connect(process.env.BROKER ?? 'mqtt://127.0.0.1:1883', { clientId: 'sensor-7', clean: false })
client.on('error', error => console.error(error.message))

const gate = new Gate().use(
  // Alarms pass at once, telemetry has the rest of what the uplink bears.
  'sensor-7/telemetry',
  limit({ name: 'telemetry', limit: '20/s burst 5', exceeded: 'throttle' }),
)
gate.use(limit({ name: 'uplink', limit: '50kB/s', exceeded: 'throttle' }))

// What waits while there is no connection is bounded: an hour, 5,000 messages, the oldest of the least urgent go first.
const publisher = limitPublishes(client, gate, {
  maxMessages: 5_000,
  maxAgeMs: 3_600_000,
  overflow: 'oldest',
})

const COUNT = Number(process.env.COUNT ?? 60)
for (let reading = 0; reading < COUNT; reading++) {
  publisher.publish('sensor-7/telemetry', JSON.stringify({ reading }), { qos: 1, priority: 'low' })
  // Of its state only the newest counts.
  publisher.publish('sensor-7/state', reading % 2 ? 'on' : 'off', { retain: true, latest: true })
}
publisher
  .publish('sensor-7/alarm', 'overheated', { qos: 1, priority: 'emergency' })
  .then(({ outcome, waitedMs }) => {
    console.log(`alarm ${outcome}${waitedMs < 1_000 ? ' at once' : ` after ${waitedMs} ms`}`)
  })

const end = async () => {
  await publisher.flush(10_000)
  const { sent, dropped, failed } = publisher.stats()
  console.log(`${sent} sent, ${dropped} superseded, ${failed} failed`)
  publisher.close()
  await client.endAsync()
  await gate.close()
}
process.once('SIGTERM', end)
if (process.env.COUNT !== undefined) await end()
