// One node of several that lease units of one NATS KV bucket; a process of its own. Argument as JSON: { url, forMs, nodes,
// units, limit, messages, everyMs }. Prints `MS UNITS` for what it admitted, as soon as it did, then `asked N conflicts N
// p50 NS`.
import { writeSync } from 'node:fs'
import { createHistogram } from 'node:perf_hooks'
import { connect } from '@nats-io/transport-node'
import { createLimit, LeasedStore } from '../../dist/src/index.js'
import { NatsKvStore } from '../../dist/src/stores/nats-kv/index.js'

const { url, forMs, nodes, units, limit, messages, everyMs } = JSON.parse(process.argv[2])
const connection = await connect({ servers: url })
const shared = new NatsKvStore({ connection, onClose: () => connection.close(), timeoutMs: 2_000 })
while (!(await shared.health()).ok) await new Promise(resolve => setTimeout(resolve, 10))
const store = new LeasedStore({ store: shared, nodes, units })
const charges = [{ limit: createLimit(limit), key: 'all', cost: 1 }]

let admitted = 0
const count = verdicts => {
  if (verdicts.every(({ allowed }) => allowed)) admitted++
}
const tell = () => {
  if (admitted > 0) writeSync(1, `${Date.now()} ${admitted}\n`)
  admitted = 0
}

const took = createHistogram()
// What it takes to look at the time is not part of a decision.
const reading = createHistogram()
writeSync(1, 'ready\n')
const endMs = Date.now() + forMs
while (Date.now() < endMs) {
  const asked = []
  for (let sent = 0; sent < messages; sent++) {
    const start = process.hrtime.bigint()
    const answer = store.decide(charges, { commit: true })
    const end = process.hrtime.bigint()
    took.record(end - start || 1n)
    reading.record(process.hrtime.bigint() - end || 1n)
    if (answer instanceof Promise) asked.push(answer.then(count))
    else count(answer)
  }
  tell()
  await Promise.all(asked)
  tell()
  await new Promise(resolve => setTimeout(resolve, everyMs))
}
const { leases, conflicts } = { ...(await store.health()), ...(await shared.health()) }
writeSync(
  1,
  `asked ${leases.asked} conflicts ${conflicts} p50 ${took.percentile(50) - reading.percentile(50)}\n`,
)
await store.close()
