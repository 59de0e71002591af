// A rule tried out before it holds:  PORT=1883 node examples/dry-run.js
// It decides and counts like any other and refuses nothing; look what it would do, then remove `shadow`.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { Gate, limit } from 'topicgate'
import { limitBroker } from 'topicgate/aedes'

const gate = new Gate()
gate.use('fleet/#', limit({ name: 'trial', limit: '1/s burst 10', per: 'client', shadow: true }))

let decided = 0
let wouldRefuse = 0
gate.on('decision', async (decision, message) => {
  decided++
  if (!decision.shadow?.includes('trial')) return
  wouldRefuse++
  if (wouldRefuse > 1) return
  // Every step for this one message; an explanation charges nothing.
  const { limits: traces } = await gate.explain(message)
  for (const { rule, key, limit: most, remaining, retryAfterMs } of traces) {
    console.log(`first: ${rule} "${key}" has ${remaining} of ${most} left, again in ${retryAfterMs} ms`)
  }
})

const broker = await Aedes.createBroker()
limitBroker(broker, gate)
const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

process.once('SIGTERM', () => {
  console.log(`ending: trial would have refused ${wouldRefuse} of ${decided}`)
  server.close()
  broker.close(() => void gate.close())
})
