// A JetStream worker with limits per tenant:  NATS_URL=nats://127.0.0.1:4222 node examples/nats-worker.js
// Nothing is lost: what may not pass yet goes back once, to come again at a time of its own.
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, headers } from '@nats-io/transport-node'
import { Gate, limit } from 'topicgate'
import { limitNats } from 'topicgate/nats'

const gate = new Gate({ dialect: 'nats' })
gate.use('jobs.{tenant}', limit({ name: 'tenant', limit: '50/s burst 10', per: 'tenant', exceeded: 'retry' }))

const nc = await connect({ servers: process.env.NATS_URL ?? 'nats://127.0.0.1:4222' })
const manager = await jetstreamManager(nc)
await manager.streams.add({ name: 'jobs', subjects: ['jobs.>'] })
// A job is given up only when its dead letter is stored.
await manager.streams.add({ name: 'dead', subjects: ['dead.>'] })
// What is held or sent back waits for an acknowledgement all the while: leave room for the quiet ones.
await manager.consumers.add('jobs', {
  durable_name: 'worker',
  ack_policy: 'explicit',
  max_ack_pending: 50_000,
  max_deliver: 20,
})
const consumer = await jetstream(nc).consumers.get('jobs', 'worker')

const limits = limitNats(gate, { headers, connection: nc, deadLetter: 'dead.{topic}' })
let done = 0
await limits.consume(consumer, async message => {
  if (message.string() === 'bad') throw new Error('it cannot be done')
  done++
  // Acknowledged when this promise is fulfilled.
})
console.log('ready')

process.once('SIGTERM', async () => {
  await limits.drain()
  await nc.drain()
  await gate.close()
  const { sentBack, handlerErrors } = limits.stats()
  console.log(`ending: ${done} done, ${handlerErrors} failed, ${sentBack} sent back`)
})
