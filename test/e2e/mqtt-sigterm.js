// A consumer that drains at SIGTERM. Prints what it has handled. Argument: port.
import { connect } from 'mqtt'
import { Gate, limit } from 'topicgate'
import { limitConsumer } from 'topicgate/mqtt'

const client = connect({ port: Number(process.argv[2]), clientId: 'worker', clean: false })
const gate = new Gate().use(
  limit({ name: 'state', rate: '50/s burst 1', per: 'topic', exceeded: 'queue' }),
  limit({ name: 'all', rate: '40/s burst 1', exceeded: 'throttle' }),
)
const limits = limitConsumer(client, gate, {
  handler: async (_topic, payload) => {
    await new Promise(resolve => setTimeout(resolve, 5))
    console.log(`handled ${payload}`)
  },
})
process.once('SIGTERM', async () => {
  await limits.drain(1_000)
  await client.endAsync()
  await gate.close()
})

await client.subscribeAsync('in/#', { qos: 1 })
console.log('ready')
