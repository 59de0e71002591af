import { afterAll } from 'vitest'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { usualOrLong } from '../support/long-run.ts'
import { openIoredisCluster } from '../support/redis-clients.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { storeConformance } from './store-suite.ts'

const cluster = await startRedisCluster()
const client = await openIoredisCluster(cluster.url)
afterAll(async () => {
  client.disconnect()
  await cluster.stop()
})

let stores = 0

// Keys are distributed over all slots, so most messages of these histories span several.
storeConformance(
  'redis-cluster',
  clock => {
    stores++
    return new RedisStore({ client, clock, prefix: `store-${stores}`, timeoutMs: 20_000, denialCache: 0 })
  },
  { histories: usualOrLong(10, 20) },
)
