/** Entry point `topicgate/redis`: limits in Redis or Valkey. */

export type { AnyRedisClient } from './adapt-redis-client.ts'
export { fromIoredis, type IoredisClient, type IoredisCluster } from './from-ioredis.ts'
export { fromNodeRedis, type NodeRedisClient, type NodeRedisCluster } from './from-node-redis.ts'
export { type OpenRedisOptions, openRedis } from './open.ts'
export type { RedisAdapterOptions, RedisClient, RedisServerLink } from './redis-client-types.ts'
export { type RedisHealth, RedisStore, type RedisStoreOptions } from './store.ts'
