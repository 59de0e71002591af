// One node of several that lease units of one Redis; a process of its own, so that it can be killed.
// Argument as JSON: { url, forMs, nodes, limits, messages, everyMs }. Prints `MS UNITS` for what it admitted, as soon
// as it did, and `closed` when it has given everything back.
import { writeSync } from 'node:fs'
import { Redis } from 'ioredis'
import { createLimit, LeasedStore } from '../../dist/src/index.js'
import { RedisStore } from '../../dist/src/stores/redis/index.js'

const { url, forMs, nodes, limits, messages, everyMs } = JSON.parse(process.argv[2])
const client = new Redis(url, { enableOfflineQueue: false })
await new Promise(resolve => client.once('ready', resolve))
const store = new LeasedStore({ store: new RedisStore({ client, timeoutMs: 20_000 }), nodes })
const charges = limits.map(spec => ({ limit: createLimit(spec), key: 'all', cost: 1 }))

let admitted = 0
const count = verdicts => {
  if (verdicts.every(({ allowed }) => allowed)) admitted++
}
const tell = () => {
  if (admitted > 0) writeSync(1, `${Date.now()} ${admitted}\n`)
  admitted = 0
}

writeSync(1, 'ready\n')
const endMs = Date.now() + forMs
while (Date.now() < endMs) {
  const asked = []
  for (let sent = 0; sent < messages; sent++) {
    const answer = store.decide(charges, { commit: true })
    if (answer instanceof Promise) asked.push(answer.then(count))
    else count(answer)
  }
  tell()
  await Promise.all(asked)
  tell()
  await new Promise(resolve => setTimeout(resolve, everyMs))
}
await store.close()
writeSync(1, 'closed\n')
client.disconnect()
