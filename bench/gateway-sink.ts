import { createServer } from 'node:net'

/** A broker in a process of its own that accepts every client, answers PINGREQ and discards all else. Tells its port. */
const CONNECT = 0x10
const CONNACK = Buffer.from([0x20, 2, 0, 0])
const PINGREQ = Buffer.from([0xc0, 0])
const PINGRESP = Buffer.from([0xd0, 0])

const server = createServer({ noDelay: true }, socket => {
  let isConnected = false
  socket.on('error', () => {})
  socket.on('data', chunk => {
    if (!isConnected && chunk[0] === CONNECT) {
      isConnected = true
      socket.write(CONNACK)
    }
    if (chunk.subarray(-2).equals(PINGREQ)) socket.write(PINGRESP)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.(typeof address === 'object' ? address?.port : undefined)
})
process.on('message', () => process.exit(0))
