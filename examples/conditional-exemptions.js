// Exemptions that hold under conditions:  PORT=1883 node examples/conditional-exemptions.js
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { Gate } from 'topicgate'
import { limitBroker } from 'topicgate/aedes'

const gate = await Gate.fromPolicy(`
version: 1
exempt:
  - name: own-network
    description: Lists inside one entry are alternatives; the condition must hold as well.
    clients: [backup]
    ips: ["10.0.0.0/8"]
    when: { time: "22:00-06:00", days: mon-fri, zone: Europe/Berlin }
  - name: emergencies
    description: Anyone can write this word, so it opens the gate five times a minute and no more.
    when:
      all:
        - payload: { field: priority, equals: emergency }
        - size: { max: 4kB }
    limit: 5/min per client
  - name: corrections
    description: A retained message replaces another; there are few of them.
    when: { retain: true, not: { qos: 0 } }
    limit: 1/s burst 5 per client
rules:
  - name: reports
    topic: fleet/#
    per: client
    limit: 6/min burst 3
    exceeded: drop
`)

const seen = new Map()
gate.on('decision', ({ allowed, exemption, rule }) => {
  const name = exemption ?? `${rule} ${allowed ? 'passed' : 'refused'}`
  seen.set(name, (seen.get(name) ?? 0) + 1)
})

const broker = await Aedes.createBroker()
limitBroker(broker, gate)
const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

process.once('SIGTERM', () => {
  console.log(`ending: ${[...seen].map(([name, count]) => `${name} ${count}`).join(', ')}`)
  server.close()
  broker.close(() => void gate.close())
})
