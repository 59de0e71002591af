import { afterAll } from 'vitest'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis, openNodeRedis } from '../support/redis-clients.ts'
import { storeConformance } from './store-suite.ts'

const server = await startRedis()
const ioredis = await openIoredis(server.url)
const nodeRedis = await openNodeRedis(server.url)
afterAll(async () => {
  ioredis.disconnect()
  nodeRedis.destroy()
  await server.stop()
})

let stores = 0
const options = () => {
  stores++
  return { prefix: `store-${stores}`, timeoutMs: 20_000, denialCache: 0 }
}

storeConformance('redis', clock => new RedisStore({ client: ioredis, clock, ...options() }))

storeConformance(
  'redis through node-redis',
  clock => new RedisStore({ client: nodeRedis, clock, ...options() }),
  { histories: 10 },
)
