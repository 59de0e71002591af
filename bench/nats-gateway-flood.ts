import { once } from 'node:events'
import { connect } from 'node:net'

/**
 * Publishers of NATS in a process of its own that write as fast as the server reads. Arguments: port, publishers. Each time
 * its parent names a number it sends so many or a few more, and tells how many once the server has answered; any other
 * word ends it.
 */
const [port, publishers] = process.argv.slice(2).map(Number) as [number, number]
const PAYLOAD = 'x'.repeat(100)
/** Messages of one write. */
const BATCH = 64

async function makePublisher(index: number): Promise<(count: number) => Promise<void>> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'data')
  const fields = { verbose: false, headers: true, name: `client-${index}`, user: `user-${index}` }
  socket.write(`CONNECT ${JSON.stringify(fields)}\r\nPING\r\n`)
  await once(socket, 'data')
  const subject = `fleet.site-${index % 20}.device-${index}.telemetry.temperature`
  const batch = Buffer.from(`PUB ${subject} ${PAYLOAD.length}\r\n${PAYLOAD}\r\n`.repeat(BATCH))
  return async count => {
    for (let sent = 0; sent < count; sent += BATCH) if (!socket.write(batch)) await once(socket, 'drain')
    socket.write('PING\r\n')
    await once(socket, 'data')
  }
}

const all: ((count: number) => Promise<void>)[] = []
for (let index = 0; index < publishers; index++) all.push(await makePublisher(index))
process.on('message', async word => {
  if (typeof word !== 'number') process.exit(0)
  const share = Math.ceil(word / publishers / BATCH) * BATCH
  await Promise.all(all.map(publish => publish(share)))
  process.send?.(share * publishers)
})
process.send?.('ready')
