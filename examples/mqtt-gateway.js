// Limits in front of any MQTT broker:  BROKER=mqtt://127.0.0.1:1884 PORT=1883 node examples/mqtt-gateway.js
// Mosquitto, EMQX, HiveMQ, VerneMQ and RabbitMQ stay as they are; clients connect to the gateway. The command
// `topicgate gateway` does this, with TLS, WebSocket, several brokers and monitoring.
import { connect, createServer } from 'node:net'
import { Gate, limit } from 'topicgate'
import { mqttGateway } from 'topicgate/gateway'

const gate = new Gate()
  .use('fleet/{site}/#', limit({ name: 'site', limit: '100/s burst 500', per: 'site', exceeded: 'throttle' }))
  .use(limit({ name: 'client', limit: '5/s burst 20', per: 'client', exceeded: 'reject' }))

const broker = new URL(process.env.BROKER ?? 'mqtt://127.0.0.1:1884')
const gateway = mqttGateway(gate, {
  // Called for each client that passed the rules `on: connect`. Choose a broker by its id here.
  connectUpstream: () => connect({ host: broker.hostname, port: Number(broker.port || 1883), noDelay: true }),
})

const server = createServer({ noDelay: true }, socket =>
  gateway.handle(socket, { ip: socket.remoteAddress ?? '', port: socket.remotePort }),
)
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

process.once('SIGTERM', async () => {
  const { dropped, rejected } = gateway.stats()
  console.log(`ending: ${dropped} dropped, ${rejected} rejected`)
  server.close()
  await gateway.close()
  await gate.close()
})
