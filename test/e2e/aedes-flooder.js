// Floods a broker from a process of its own, so that it takes no time of the broker's event loop.
// Arguments as JSON: { port, clients, topic, payloadBytes, qos, count }; count 0 floods until killed.
import { connect } from 'node:net'
import mqttPacket from 'mqtt-packet'

const { port, clients, topic, payloadBytes, qos, count } = JSON.parse(process.argv[2])
const BATCH = 50

for (let index = 0; index < clients; index++) flood(index)

function flood(index) {
  const socket = connect(port, '127.0.0.1')
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  let sent = 0
  let acked = 0
  socket.on('error', () => {})
  socket.on('close', () => process.send?.({ closed: index }))
  socket.on('data', chunk => parser.parse(chunk))
  socket.write(
    mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: `flood-${index}`,
      keepalive: 60,
    }),
  )
  parser.on('packet', ({ cmd }) => {
    if (cmd === 'connack') pour()
    if (cmd !== 'puback') return
    acked++
    if (acked === count) process.send?.({ acked, index })
  })

  function pour() {
    for (;;) {
      if (socket.destroyed || (count > 0 && sent >= count)) return
      const packets = []
      for (let i = 0; i < BATCH && (count === 0 || sent < count); i++) packets.push(packet(++sent))
      if (!socket.write(Buffer.concat(packets))) {
        socket.once('drain', pour)
        return
      }
    }
  }

  function packet(number) {
    return mqttPacket.generate({
      cmd: 'publish',
      topic: `${topic}/${index}`,
      payload: String(number).padEnd(payloadBytes, ' '),
      qos,
      messageId: (number % 65_535) + 1,
      retain: false,
      dup: false,
    })
  }
}
