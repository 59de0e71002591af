import { afterAll } from 'vitest'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { startRedis } from '../support/redis.ts'
import { openIoredis } from '../support/redis-clients.ts'
import { storeConformance } from './store-suite.ts'

const server = await startRedis()
const client = await openIoredis(server.url)
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

let stores = 0

storeConformance('redis', clock => {
  stores++
  return new RedisStore({ client, clock, prefix: `store-${stores}`, timeoutMs: 5_000, denialCache: 0 })
})
