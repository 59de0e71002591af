/** Entry point `topicgate/redis`: limits in Redis or Valkey. */
export type { RedisAdapterOptions, RedisClient, RedisServerLink } from './client.ts'
export type { AnyRedisClient } from './client-adapter.ts'
export { fromIoredis, type IoredisClient, type IoredisCluster } from './from-ioredis.ts'
export { fromNodeRedis, type NodeRedisClient, type NodeRedisCluster } from './from-node-redis.ts'
export { type OpenRedisOptions, openRedis } from './open.ts'
export { type RedisHealth, RedisStore, type RedisStoreOptions } from './store.ts'
