import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import mqtt from 'mqtt-packet'

/**
 * A load generator in a process of its own: publishers that write as fast as the broker reads, and subscribers that
 * read and acknowledge. Arguments: port, publishers, subscribers, QoS, packets written before waiting. Each time its parent names a number it sends so
 * many or a few more, and tells how many once the broker has answered for the last one; any other word ends it.
 */
const [port, publishers, subscribers, qos, window = 64] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  0 | 1,
  /** At QoS 0 until the socket drains, at QoS 1 until they are acknowledged. */
  number?,
]
const PAYLOAD = Buffer.alloc(100, 'x')

function open(clientId: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.on('error', reject)
    socket.once('data', () => resolve(socket))
    socket.write(
      mqtt.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId,
        keepalive: 0,
      }),
    )
  })
}

async function subscribe(index: number): Promise<void> {
  const socket = await open(`subscriber-${index}`)
  const parser = mqtt.parser()
  await new Promise<void>(resolve => {
    parser.on('packet', packet => {
      if (packet.cmd === 'suback') resolve()
      if (packet.cmd === 'publish' && packet.qos === 1)
        socket.write(mqtt.generate({ cmd: 'puback', messageId: packet.messageId! }))
    })
    socket.on('data', chunk => parser.parse(chunk))
    socket.write(
      mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'fleet/#', qos }] }),
    )
  })
}

/** A publisher that stays: each call sends so many, and ends once the broker has answered for the last one. */
async function makePublisher(index: number): Promise<(count: number) => Promise<void>> {
  const socket = await open(`client-${index}`)
  const topic = `fleet/site-${index % 20}/device-${index}/telemetry/temperature`
  const packetOf = (messageId: number): Buffer =>
    mqtt.generate({ cmd: 'publish', topic, payload: PAYLOAD, qos, retain: false, dup: false, messageId })
  if (qos === 0) {
    const batch = Buffer.concat(Array.from({ length: window }, () => packetOf(0)))
    return async count => {
      for (let sent = 0; sent < count; sent += window) {
        if (!socket.write(batch)) await once(socket, 'drain')
      }
      socket.write(mqtt.generate({ cmd: 'pingreq' }))
      await once(socket, 'data')
    }
  }
  let [sent, acknowledged, wanted] = [0, 0, 0]
  let finish: () => void = () => {}
  const fill = (): void => {
    const packets: Buffer[] = []
    while (sent < wanted && sent - acknowledged < window) packets.push(packetOf((sent++ % 65_000) + 1))
    if (packets.length > 0) socket.write(Buffer.concat(packets))
  }
  const parser = mqtt.parser()
  parser.on('packet', packet => {
    if (packet.cmd === 'puback') acknowledged++
  })
  socket.on('data', chunk => {
    parser.parse(chunk)
    if (acknowledged >= wanted) finish()
    else fill()
  })
  return count =>
    new Promise(resolve => {
      finish = resolve
      wanted += count
      fill()
    })
}

for (let index = 0; index < subscribers; index++) await subscribe(index)
const all: ((count: number) => Promise<void>)[] = []
for (let index = 0; index < publishers; index++) all.push(await makePublisher(index))
// Subscribers stay until they are told to go: aedes cannot bear one that leaves with thousands of messages under way.
process.on('message', async word => {
  if (typeof word !== 'number') process.exit(0)
  const share = Math.ceil(word / publishers / window) * window
  await Promise.all(all.map(publish => publish(share)))
  process.send?.(share * publishers)
})
process.send?.('ready')
