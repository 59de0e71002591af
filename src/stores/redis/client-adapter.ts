import { UnsupportedError } from '../../core/errors.ts'
import type { AdapterOptions, RedisClient } from './client.ts'
import { fromIoredis, type IoredisClient, type IoredisCluster } from './from-ioredis.ts'
import { fromNodeRedis, type NodeRedisClient, type NodeRedisCluster } from './from-node-redis.ts'

/** What a store can be given to speak through. */
export type AnyRedisClient = RedisClient | IoredisClient | IoredisCluster | NodeRedisClient | NodeRedisCluster

/** The client as the store asks it. Throws UnsupportedError for what is neither ioredis nor node-redis. */
export function adapt(client: AnyRedisClient, options: AdapterOptions): RedisClient {
  if ('serverOf' in client) return client
  if ('sendCommand' in client && 'isReady' in client) return fromNodeRedis(client, options)
  if ('evalsha' in client && 'status' in client) return fromIoredis(client, options)
  throw new UnsupportedError('this is no client of Redis: give one of ioredis or of node-redis')
}
