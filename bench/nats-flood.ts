import { connect } from '@nats-io/transport-node'

/** Publishes 100-byte messages on a hundred subjects and ends. Arguments: url, messages. */
const [url, count] = process.argv.slice(2) as [string, string]
const nc = await connect({ servers: url })
const payload = new Uint8Array(100).fill(120)
const subjects = Array.from(
  { length: 100 },
  (_, index) => `fleet.site-${index % 20}.device-${index}.telemetry`,
)
for (let sent = 0; sent < Number(count); sent++) {
  nc.publish(subjects[sent % subjects.length]!, payload)
  if (sent % 1_000 === 999) await nc.flush()
}
await nc.drain()
