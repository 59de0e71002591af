import { connect } from '@nats-io/transport-node'

/** Publishes 100-byte messages on a hundred subjects. Arguments: url. Told `[first token, messages]`, it tells when they are sent. */
const nc = await connect({ servers: process.argv[2]! })
const payload = new Uint8Array(100).fill(120)
const rest = Array.from({ length: 100 }, (_, index) => `site-${index % 20}.device-${index}.telemetry`)

process.on('message', async ([token, count]: [string, number]) => {
  const subjects = rest.map(each => `${token}.${each}`)
  for (let sent = 0; sent < count; sent++) {
    nc.publish(subjects[sent % subjects.length]!, payload)
    if (sent % 1_000 === 999) await nc.flush()
  }
  await nc.flush()
  process.send?.('sent')
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
