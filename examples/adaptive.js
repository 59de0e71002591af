// Limits that follow the load of the machine and of the broker:  PORT=1883 node examples/adaptive.js
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { adaptive, Gate, limit } from 'topicgate'
import { limitBroker } from 'topicgate/aedes'

const load = adaptive({
  levels: { low: '1.5 up to 30%', medium: '1 up to 70%', high: 0.5 },
  // Also by what waits at the broker, which tells the gate.
  stages: 'default',
  everyMs: Number(process.env.EVERY_MS ?? 10_000),
})

const gate = new Gate()
gate.use(load)
gate.use('fleet/#', limit({ name: 'fleet', limit: '10/s burst 20', per: 'client', exceeded: 'throttle' }))
gate.on('scaled', scaled => {
  console.log(`limits x${scaled?.factor ?? 1}: ${scaled?.reason ?? 'load medium'}`)
})

const broker = await Aedes.createBroker()
limitBroker(broker, gate)
const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

process.once('SIGTERM', () => {
  const { signals, changes } = load.report()
  console.log(`ending: ${Object.keys(signals).sort().join(', ')}; ${changes} changes`)
  server.close()
  broker.close(() => void gate.close())
})
