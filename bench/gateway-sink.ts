import { createServer } from 'node:net'

/**
 * A broker in a process of its own that accepts every client, answers PINGREQ and lone PUBLISHes of QoS 1, and discards all
 * else. Tells its port.
 */
const CONNECT = 0x10
const PUBLISH_QOS_1 = 0x32
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
    else if (isLonePublish(chunk)) socket.write(acknowledge(chunk))
  })
})
/** Returns true for one whole PUBLISH of QoS 1 with a remaining length of two bytes. */
function isLonePublish(chunk: Buffer): boolean {
  return chunk[0] === PUBLISH_QOS_1 && chunk.length === 3 + (chunk[1]! & 0x7f) + 128 * chunk[2]!
}

function acknowledge(publish: Buffer): Buffer {
  const idStart = 5 + publish.readUInt16BE(3)
  return Buffer.from([0x40, 2, publish[idStart]!, publish[idStart + 1]!])
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.(typeof address === 'object' ? address?.port : undefined)
})
process.on('message', () => process.exit(0))
