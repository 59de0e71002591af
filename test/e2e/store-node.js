// A node of two limited brokers, each flooded by a client of its own over TCP, in a process of its own.
// Arguments as JSON: { store, rules, perClient, forMs, pauseMs }. Prints what its gates let through, and when.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'
import { Gate } from 'topicgate'
import { limitBroker } from 'topicgate/aedes'

const { store, rules, perClient, forMs, pauseMs } = JSON.parse(process.argv[2])
const STEP_MS = 20
const told = { asked: 0, allowed: 0, fallbacks: 0, firstMs: Infinity, lastMs: 0 }

async function open(index) {
  const gate = await Gate.fromPolicy({ store, rules })
  gate.on('decision', (decision, message) => {
    if (message.on !== 'publish') return
    told.asked++
    if (decision.fallback) told.fallbacks++
    if (!decision.allowed) return
    told.allowed++
    told.firstMs = Math.min(told.firstMs, Date.now())
    told.lastMs = Date.now()
  })
  const broker = await Aedes.createBroker()
  limitBroker(broker, gate)
  const server = createServer({ noDelay: true }, socket => broker.handle(socket))
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const client = await mqtt.connectAsync({ port: server.address().port, clientId: `flooder-${index}` })
  return { gate, broker, server, client }
}

const nodes = [await open(1), await open(2)]
console.log('ready')
await new Promise(resolve => process.stdin.once('data', resolve))
const startMs = Date.now()
let sent = 0
while (Date.now() - startMs < forMs) {
  // Catches up where the machine was too busy, so that as much is asked as was said.
  const due = Math.floor(((Date.now() - startMs) * perClient) / 1000)
  for (; sent < due; sent++) for (const { client } of nodes) client.publish('t', 'x')
  await new Promise(resolve => setTimeout(resolve, STEP_MS))
}
await new Promise(resolve => setTimeout(resolve, pauseMs))
console.log(JSON.stringify(told))
for (const { gate, broker, server, client } of nodes) {
  client.end(true)
  await new Promise(resolve => broker.close(() => resolve()))
  server.close()
  await gate.close()
}
process.exit(0)
