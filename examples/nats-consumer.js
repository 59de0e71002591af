// A consumer that holds every tenant to its rate:  NATS_URL=nats://127.0.0.1:4222 node examples/nats-consumer.js
// A noisy tenant waits for itself; the others do not notice.
import { connect, headers } from '@nats-io/transport-node'
import { Gate, limit } from 'topicgate'
import { limitNats } from 'topicgate/nats'

const gate = new Gate({ dialect: 'nats' })
gate.use(
  'orders.{tenant}.>',
  limit({ name: 'tenant', limit: '100/s burst 20', per: 'tenant', exceeded: 'throttle' }),
)
gate.use('prices.*', limit({ name: 'prices', limit: '5/min', per: 'topic', exceeded: 'reject' }))

const nc = await connect({ servers: process.env.NATS_URL ?? 'nats://127.0.0.1:4222' })
const limits = limitNats(gate, { headers })

const counts = new Map()
limits.subscribe(nc, 'orders.>', {
  callback: message => {
    const tenant = message.subject.split('.')[1]
    counts.set(tenant, (counts.get(tenant) ?? 0) + 1)
  },
})

// Whoever asks too often is told so, with Retry-After.
limits.respond(nc, 'prices.*', message => message.respond('42'))

await nc.flush()
console.log('ready')

process.once('SIGTERM', async () => {
  await limits.drain()
  const { discarded } = limits.stats()
  await nc.drain()
  await gate.close()
  console.log(`ending: ${JSON.stringify(Object.fromEntries(counts))}, ${discarded} were held`)
})
