import { createServer } from 'node:net'

/** A NATS server in a process of its own that accepts every client, answers PING and discards all else. Tells its port. */
const INFO = 'INFO {"server_id":"sink","headers":true,"max_payload":1048576} \r\n'
const PING = Buffer.from('PING\r\n')

const server = createServer({ noDelay: true }, socket => {
  socket.on('error', () => {})
  socket.on('data', chunk => {
    if (chunk.subarray(-PING.length).equals(PING)) socket.write('PONG\r\n')
  })
  socket.write(INFO)
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.(typeof address === 'object' ? address?.port : undefined)
})
process.on('message', () => process.exit(0))
