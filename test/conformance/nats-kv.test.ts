import { connect } from '@nats-io/transport-node'
import { afterAll } from 'vitest'
import { NatsKvStore } from '../../src/stores/nats-kv/index.ts'
import { startNats } from '../support/nats.ts'
import { storeConformance } from './store-suite.ts'

const server = await startNats({ jetstream: true })
const connection = await connect({ servers: server.url })
afterAll(async () => {
  await connection.close()
  await server.stop()
})

let stores = 0

// Each decision is two round trips, so that it plays fewer histories.
storeConformance(
  'nats-kv',
  clock => {
    stores++
    const options = { bucket: `store-${stores}`, storage: 'memory' } as const
    return new NatsKvStore({ connection, clock, timeoutMs: 10_000, ...options })
  },
  { histories: 40 },
)
