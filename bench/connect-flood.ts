import { connect } from 'node:net'
import mqttPacket from 'mqtt-packet'

/**
 * Opens and closes connections, 32 at a time, each after its CONNACK. Each time its parent sends a number, it opens so
 * many and answers when all are closed; any other word ends it. Argument: port.
 */
const port = Number(process.argv[2])
const AT_ONCE = 32
const DISCONNECT = mqttPacket.generate({ cmd: 'disconnect' })

let clients = 0

function openAndClose(done: () => void): void {
  const packet = mqttPacket.generate({
    cmd: 'connect',
    clientId: `client-${clients++}`,
    username: 'u',
    clean: true,
    keepalive: 60,
  })
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(packet))
  socket.once('data', () => socket.end(DISCONNECT))
  socket.once('close', done)
}

process.on('message', (count: unknown) => {
  if (typeof count !== 'number') process.exit(0)
  let begun = 0
  let ended = 0
  const begin = (): void => {
    if (begun++ < count) openAndClose(end)
  }
  const end = (): void => {
    if (++ended === count) process.send?.('done')
    else begin()
  }
  for (let index = 0; index < AT_ONCE; index++) begin()
})
process.send?.('ready')
