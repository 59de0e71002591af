import { once } from 'node:events'
import { connect } from 'node:net'
import mqttPacket from 'mqtt-packet'

/**
 * Publishes 100-byte messages on a thousand topics at a broker and ends; as cheap as can be, so that the consumer has
 * a core of its own. Arguments: port, QoS, messages.
 */
const [port, qos, messages] = process.argv.slice(2).map(Number) as [number, 0 | 1, number]
const payload = Buffer.alloc(100, 'x')
const socket = connect({ port, host: '127.0.0.1', noDelay: true })
socket.write(mqttPacket.generate({ cmd: 'connect', clientId: 'flood', clean: true, keepalive: 0 }))
await once(socket, 'data')
// Acknowledgements are read and not looked at.
socket.resume()
for (let sent = 0; sent < messages; ) {
  const packets: Buffer[] = []
  for (let each = 0; each < 500 && sent < messages; each++, sent++) {
    const device = sent % 1_000
    const topic = `fleet/site-${device % 20}/device-${device}/telemetry/temperature`
    packets.push(
      mqttPacket.generate({
        ...{ cmd: 'publish', topic, payload, qos, retain: false, dup: false },
        messageId: (sent % 65_000) + 1,
      }),
    )
  }
  if (!socket.write(Buffer.concat(packets))) await once(socket, 'drain')
}
// Ended only when it is told to: a broker forgets what it has not read of a client that is gone.
await once(process, 'disconnect')
socket.destroy()
