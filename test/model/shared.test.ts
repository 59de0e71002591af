import { afterAll, describe } from 'vitest'
import { LeasedStore } from '../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis } from '../support/redis-clients.ts'
import { agree, SEEDS, seedsOf } from './agree.ts'

const server = await startRedis()
const client = await openIoredis(server.url)
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

let stores = 0

// A decision crosses a network here: a share of the seeds is enough beside the conformance suite.
describe('every pair of features on the Redis store', () => {
  agree(
    'redis',
    clock => {
      stores++
      // Refusals that are known here name the rule they are known of: other rules of the message are not asked.
      return new RedisStore({ client, clock, prefix: `model-${stores}`, timeoutMs: 20_000, denialCache: 0 })
    },
    seedsOf(1, SEEDS / 10),
  )
})

describe('every pair of features on leases of one unit', () => {
  agree(
    'leased',
    clock => new LeasedStore({ store: new MemoryStore({ clock }), units: 1, clock }),
    seedsOf(2, SEEDS / 5),
  )
})
