import { connect } from '@nats-io/transport-node'
import { createLimit } from '../src/algorithms/index.ts'
import { LeasedStore } from '../src/stores/leased/leased-store.ts'
import { NatsKvStore, NatsStreamStore } from '../src/stores/nats-kv/index.ts'
import type { Store } from '../src/stores/store.ts'
import { startNats } from '../test/support/nats.ts'
import { median, report } from './harness.ts'

/** One cell: decisions of several nodes on one key, each one after another. Arguments: subject, nodes, milliseconds. */
const [subject, nodes, forMs] = process.argv.slice(2) as ['kv' | 'stream' | 'leased', string, string]
/** Between two turns of the event loop, where a decision is made here. */
const AT_ONCE = 64

const server = await startNats({ jetstream: true })
const limit = createLimit({
  ...{ name: 'rule', count: 500_000_000, periodMs: 10_000 },
  algorithm: subject === 'stream' ? 'sliding-log' : 'token-bucket',
})
const charges = [{ limit, key: 'key', cost: 1 }]
const stores = await Promise.all(Array.from({ length: Number(nodes) }, openStore))
await Promise.all(stores.map(store => run(store, Number(forMs) / 4)))
const startMs = performance.now()
const tookUs = (await Promise.all(stores.map(store => run(store, Number(forMs))))).flat()
const perSecond = (tookUs.length / (performance.now() - startMs)) * 1_000
const sorted = tookUs.sort((a, b) => a - b)
await server.stop('SIGKILL')
report({ perSecond, p50Us: median(sorted), p99Us: sorted[Math.floor(sorted.length * 0.99)]! })

async function openStore(): Promise<Store> {
  const connection = await connect({ servers: server.url })
  if (subject === 'stream') return new NatsStreamStore({ connection, timeoutMs: 10_000 })
  const shared = new NatsKvStore({ connection, timeoutMs: 10_000 })
  return subject === 'kv' ? shared : new LeasedStore({ store: shared, units: 1_000_000 })
}

/** How long each decision took, in microseconds. */
async function run(store: Store, ms: number): Promise<number[]> {
  const took: number[] = []
  const endMs = performance.now() + ms
  for (let last = performance.now(); last < endMs; ) {
    for (let left = AT_ONCE; left > 0; left--) {
      const answer = store.decide(charges, { commit: true })
      const [verdict] = answer instanceof Promise ? await answer : answer
      const now = performance.now()
      if (!verdict!.allowed) throw new Error('one was denied')
      took.push((now - last) * 1_000)
      last = now
    }
    await new Promise(setImmediate)
    last = performance.now()
  }
  return took
}
