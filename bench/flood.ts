import { connect, type Socket } from 'node:net'
import mqtt from 'mqtt-packet'

/**
 * A load generator in a process of its own: publishers that write as fast as the broker reads, and subscribers that
 * read and acknowledge. Arguments: port, publishers, subscribers, QoS, messages in all. Tells its parent
 * how many it sent once the broker has answered for the last one, and ends at the next word of its parent.
 */
const [port, publishers, subscribers, qos, messages] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  0 | 1,
  number,
]
const PAYLOAD = Buffer.alloc(100, 'x')
/** Packets written before waiting: for the socket to drain at QoS 0, for acknowledgements at QoS 1. */
const WINDOW = 64

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

async function publish(index: number, count: number): Promise<void> {
  const socket = await open(`client-${index}`)
  const topic = `fleet/site-${index % 20}/device-${index}/telemetry/temperature`
  const packetOf = (messageId: number): Buffer =>
    mqtt.generate({ cmd: 'publish', topic, payload: PAYLOAD, qos, retain: false, dup: false, messageId })
  if (qos === 0) {
    const batch = Buffer.concat(Array.from({ length: WINDOW }, () => packetOf(0)))
    for (let sent = 0; sent < count; sent += WINDOW) {
      if (!socket.write(batch)) await new Promise(resolve => socket.once('drain', resolve))
    }
    socket.write(mqtt.generate({ cmd: 'pingreq' }))
    await new Promise(resolve => socket.once('data', resolve))
    return
  }
  await new Promise<void>(resolve => {
    let sent = 0
    let acknowledged = 0
    const parser = mqtt.parser()
    const fill = (): void => {
      const packets: Buffer[] = []
      while (sent < count && sent - acknowledged < WINDOW) packets.push(packetOf((sent++ % 65_000) + 1))
      if (packets.length > 0) socket.write(Buffer.concat(packets))
    }
    parser.on('packet', packet => {
      if (packet.cmd === 'puback') acknowledged++
    })
    socket.on('data', chunk => {
      parser.parse(chunk)
      if (acknowledged >= count) resolve()
      else fill()
    })
    fill()
  })
}

for (let index = 0; index < subscribers; index++) await subscribe(index)
process.send?.('ready')
await new Promise(resolve => process.once('message', resolve))
const share = Math.ceil(messages / publishers / WINDOW) * WINDOW
await Promise.all(Array.from({ length: publishers }, (_, index) => publish(index, share)))
process.send?.(share * publishers)
// Subscribers stay until all is delivered: aedes cannot bear one that leaves with thousands of messages under way.
await new Promise(resolve => process.once('message', resolve))
process.exit(0)
