import { Redis } from 'ioredis'
import { createLimit } from '../src/algorithms/index.ts'
import { LeasedStore } from '../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../src/stores/memory/memory-store.ts'
import { RedisStore } from '../src/stores/redis/index.ts'
import type { Charge, Store } from '../src/stores/store.ts'
import { startRedis } from '../test/support/redis.ts'
import { report } from './harness.ts'

/** One cell: decisions a second of one store, 100 keys in turn. Arguments: subject, rules, decisions. */
const [subject, rules, decisions] = process.argv.slice(2) as ['memory' | 'leased' | 'redis', string, string]
const KEYS = 100
const IN_FLIGHT = 256
const total = Number(decisions)

const limits = Array.from({ length: Number(rules) }, (_, index) =>
  createLimit({ name: `rule ${index}`, algorithm: 'token-bucket', count: 50_000_000, periodMs: 1_000 }),
)
// Charges ready made: what is measured is the store.
const messages: readonly (readonly Charge[])[] = Array.from({ length: KEYS }, (_, key) =>
  limits.map(limit => ({ limit, key: `client-${key}`, cost: 1 })),
)

const server = subject === 'memory' ? undefined : await startRedis()
const store = await openStore()
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
  for (let place = 0; place < count; ) {
    const asked: Promise<void>[] = []
    for (let left = Math.min(IN_FLIGHT, count - place); left > 0; left--) {
      const answer = store.decide(messages[place++ % KEYS]!, { commit: true })
      if (answer instanceof Promise) {
        asked.push(
          answer.then(verdicts => {
            if (verdicts.every(({ allowed }) => allowed)) admitted++
          }),
        )
      } else if (answer.every(({ allowed }) => allowed)) admitted++
    }
    await (asked.length > 0 ? Promise.all(asked) : new Promise(setImmediate))
  }
  return admitted
}
