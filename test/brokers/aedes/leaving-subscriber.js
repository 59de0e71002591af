// An aedes broker without limits, whose only subscriber reads nothing and disconnects. This can crash the process.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'

const broker = await Aedes.createBroker()
const server = createServer(socket => broker.handle(socket))
server.listen(0, '127.0.0.1', async () => {
  const subscriber = await mqtt.connectAsync(`mqtt://127.0.0.1:${server.address().port}`, {
    reconnectPeriod: 0,
  })
  subscriber.on('error', () => {})
  await subscriber.subscribeAsync('a')
  subscriber.stream.pause()
  const payload = Buffer.alloc(2_000)
  for (let left = Number(process.argv[2]); left > 0; left--)
    broker.publish({ cmd: 'publish', topic: 'a', payload, qos: 0 }, () => {})
  setTimeout(() => subscriber.stream.destroy(), 500)
  setTimeout(() => process.exit(0), 3_000)
})
