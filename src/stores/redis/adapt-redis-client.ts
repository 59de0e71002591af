import { UnsupportedError } from '../../core/errors.ts'
import { fromIoredis, type IoredisClient, type IoredisCluster } from './from-ioredis.ts'
import { fromNodeRedis, type NodeRedisClient, type NodeRedisCluster } from './from-node-redis.ts'
import type { RedisAdapterOptions, RedisClient } from './redis-client-types.ts'

/** Clients that a store accepts. */
export type AnyRedisClient = RedisClient | IoredisClient | IoredisCluster | NodeRedisClient | NodeRedisCluster

/** Adapts a client. Throws UnsupportedError unless it is ioredis or node-redis. */
export function adaptRedisClient(client: AnyRedisClient, options: RedisAdapterOptions): RedisClient {
  if ('serverOf' in client) return client
  if ('sendCommand' in client && 'isReady' in client) return fromNodeRedis(client, options)
  if ('evalsha' in client && 'status' in client) return fromIoredis(client, options)
  throw new UnsupportedError('this is not a Redis client: pass one of ioredis or node-redis')
}
