// A limited MQTT broker with its policy in code:  PORT=1883 node examples/aedes-broker.js
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { exempt, Gate, limit, quota } from 'topicgate'
import { limitBroker, limitServer } from 'topicgate/aedes'

const gate = new Gate()

// The order of the calls is the order of the chain: who is exempt is asked first. Not for connects, as nobody has
// shown a password by then: a pattern that the topic of connects does not match keeps them limited.
gate.use('fleet/#', exempt({ name: 'operators', users: ['operator'] }))
gate.use(
  'fleet/{site}/{sensor}/telemetry/#',
  limit({ name: 'telemetry', limit: '1/s burst 20', per: ['site', 'sensor'], exceeded: 'drop' }),
)
gate.use(
  limit({ name: 'client-bytes', limit: '100kB/s burst 1MB', per: 'client', exceeded: 'throttle' }),
  quota({ name: 'daily', quota: '500000/day', per: 'client', zone: 'Europe/Berlin' }),
  limit({ name: 'connects', on: 'connect', rate: '5/s burst 50', per: 'ip' }),
  limit({ name: 'subscriptions', on: 'subscribe', rate: '30/min', per: 'client' }),
)

const broker = await Aedes.createBroker()
// An exemption by user is worth what the check of the password is worth.
broker.authenticate = (_client, user, password, done) => {
  const secret = process.env.OPERATOR_PASSWORD
  done(null, user !== 'operator' || (secret !== undefined && String(password) === secret))
}
const limits = limitBroker(broker, gate)

const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
limitServer(server, limits)
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

process.once('SIGTERM', () => {
  const { dropped, held } = limits.stats()
  console.log(`ending: ${dropped} dropped, ${held} held`)
  server.close()
  broker.close(() => void gate.close())
})
