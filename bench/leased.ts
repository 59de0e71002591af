import { Redis } from 'ioredis'
import { createSender, type Decision, Gate, limit, type Message } from '../src/index.ts'
import { LeasedStore } from '../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../src/stores/memory/memory-store.ts'
import { RedisStore } from '../src/stores/redis/index.ts'
import type { Store } from '../src/stores/store.ts'
import { startRedis } from '../test/support/redis.ts'
import { report } from './harness.ts'

/** One cell: decisions a second of a gate on one store, 100 clients in turn. Arguments: subject, rules, decisions. */
const [subject, rules, decisions] = process.argv.slice(2) as ['memory' | 'leased' | 'redis', string, string]
const CLIENTS = 100
const IN_FLIGHT = 256
const total = Number(decisions)

const server = subject === 'memory' ? undefined : await startRedis()
const gate = new Gate({ store: await openStore() }).use(
  ...Array.from({ length: Number(rules) }, (_, index) =>
    limit({ name: `rule ${index}`, rate: '50000000/s', per: 'client' }),
  ),
)
const messages = Array.from(
  { length: CLIENTS },
  (_, index): Message => ({
    topic: 'fleet/telemetry',
    on: 'publish',
    size: 100,
    sender: createSender({ client: `client-${index}` }),
  }),
)
await run(Math.ceil(total / 4))
const startMs = performance.now()
const admitted = await run(total)
const perSecond = (total / (performance.now() - startMs)) * 1_000
if (admitted !== total) throw new Error(`${admitted} of ${total} were admitted`)
await server?.stop('SIGKILL')
report({ perSecond })

async function openStore(): Promise<Store> {
  if (subject === 'memory') return new MemoryStore()
  const client = new Redis(server!.url, { retryStrategy: () => 50 })
  client.on('error', () => {})
  await client.ping()
  const shared = new RedisStore({ client, timeoutMs: 10_000 })
  return subject === 'redis' ? shared : new LeasedStore({ store: shared })
}

/** As a broker would: bursts of messages, and then a turn of the event loop for the sockets. */
async function run(count: number): Promise<number> {
  let admitted = 0
  const add = ({ allowed }: Decision): void => {
    if (allowed) admitted++
  }
  for (let place = 0; place < count; ) {
    const asked: Promise<void>[] = []
    for (let left = Math.min(IN_FLIGHT, count - place); left > 0; left--) {
      const answer = gate.check(messages[place++ % CLIENTS]!)
      if (answer instanceof Promise) asked.push(answer.then(add))
      else add(answer)
    }
    await (asked.length > 0 ? Promise.all(asked) : new Promise(setImmediate))
  }
  return admitted
}
