import { connect } from '@nats-io/transport-node'
import { afterAll } from 'vitest'
import type { Clock } from '../../src/core/clock.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { NatsKvStore } from '../../src/stores/nats-kv/index.ts'
import { usualOrLong } from '../support/long-run.ts'
import { startNats } from '../support/nats.ts'
import { algorithmConformance } from './algorithm-suite.ts'
import { slidingLog } from './sliding-log-algorithm.ts'
import { storeConformance } from './store-suite.ts'

const server = await startNats({ jetstream: true })
const connection = await connect({ servers: server.url })
afterAll(async () => {
  await connection.close()
  await server.stop()
})

let stores = 0
const open = (clock: Clock): NatsKvStore => {
  stores++
  return new NatsKvStore({
    connection,
    clock,
    timeoutMs: 10_000,
    bucket: `store-${stores}`,
    storage: 'memory',
  })
}

// Fewer histories, because each decision takes two round trips.
storeConformance('nats-kv', open, { histories: usualOrLong(15, 40) })

// Custom algorithms need no Lua code: their steps run locally.
algorithmConformance(slidingLog, {
  stores: { memory: clock => new MemoryStore({ clock }), 'nats-kv': open },
  mostPerPeriod: ({ capacity }) => capacity,
})
