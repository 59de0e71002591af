// A limited MQTT broker that follows a policy file:  PORT=1883 node examples/aedes-policy-file.js [policy.yaml]
// A change of the file, or SIGHUP, puts the new policy in the place of the old one; connections and counts stay.
import { unwatchFile, watchFile } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Aedes } from 'aedes'
import { Gate } from 'topicgate'
import { limitBroker } from 'topicgate/aedes'

const file = process.argv[2] ?? fileURLToPath(new URL('../config/fleet.yaml', import.meta.url))

// A policy that cannot be used ends the start here, with the place and the remedy of every problem.
const gate = await Gate.fromPolicy(file).catch(error => {
  console.error(error.message)
  process.exit(1)
})
gate.on('policy', change => {
  if (change.kind === 'applied') console.log(`policy: ${change.rules.length} rules`)
  // The policy before is still at work.
  else console.error(`policy refused:\n${change.error.message}`)
})

const broker = await Aedes.createBroker()
const limits = limitBroker(broker, gate)
const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

// `apply` never leaves the gate without a policy, and tells of what it refuses by the event above.
const reload = () => void gate.apply(file).catch(() => {})
watchFile(file, { interval: 500 }, reload)
process.on('SIGHUP', reload)

process.once('SIGTERM', () => {
  console.log(`ending: ${limits.stats().dropped} dropped`)
  unwatchFile(file, reload)
  process.off('SIGHUP', reload)
  server.close()
  broker.close(() => void gate.close())
})
