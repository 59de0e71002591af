// Twenty equal senders, from a process of their own: each publishes numbered messages of QoS 1 at an even rate, the urgency of the
// n-th the same for all. Arguments as JSON: { port, senders, perSecond, forMs, ranks }; tells how many were sent and
// acknowledged once all are, or when it is told to end.
import { connectAsync } from 'mqtt'

const { port, senders, perSecond, forMs, ranks } = JSON.parse(process.argv[2])
const TEXT = 'x'.repeat(100)
let [sent, acknowledged] = [0, 0]

const clients = await Promise.all(
  Array.from({ length: senders }, (_, index) =>
    connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: `s${index}`, reconnectPeriod: 0 }),
  ),
)
const each = (perSecond * forMs) / 1_000
const startMs = performance.now()
const published = []
while (sent < each * senders) {
  // What the timer has missed is made up for.
  const due = Math.min(each, Math.floor(((performance.now() - startMs) / 1_000) * perSecond))
  for (let n = sent / senders; n < due; n++) for (const client of clients) published.push(send(client, n))
  await new Promise(resolve => setTimeout(resolve, 5))
}
process.send?.({ kind: 'sent', sent })
await Promise.all(published)
process.send?.({ kind: 'acknowledged', acknowledged }, () => process.exit(0))

function send(client, n) {
  sent++
  const payload = JSON.stringify({ priority: ranks[n % ranks.length], n, text: TEXT })
  return client
    .publishAsync(`work/${client.options.clientId}/${ranks[n % ranks.length]}`, payload, { qos: 1 })
    .then(() => acknowledged++)
}
