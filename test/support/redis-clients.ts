import { once } from 'node:events'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { createClient, createCluster } from 'redis'
import type { NodeRedisCluster } from '../../src/stores/redis/index.ts'

/** An ioredis client as users are advised to make it, connected. */
export async function openIoredis(url: string, options: RedisOptions = {}): Promise<Redis> {
  const client = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => 50,
    ...options,
  })
  client.on('error', () => {})
  if (client.status !== 'ready') await once(client, 'ready')
  return client
}

/** An ioredis Cluster as users are advised to make it, ready. */
export async function openIoredisCluster(url: string, options: ClusterOptions = {}): Promise<Cluster> {
  const nodes = url
    .replace(/^.*:\/\//, '')
    .split(',')
    .map(text => ({ host: text.split(':')[0]!, port: Number(text.split(':')[1]) }))
  const redisOptions = { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false }
  const cluster = new Cluster(nodes, { enableOfflineQueue: false, redisOptions, ...options })
  cluster.on('error', () => {})
  if (cluster.status !== 'ready') await once(cluster, 'ready')
  return cluster
}

/** A client of node-redis as users are advised to make it, connected. */
export async function openNodeRedis(url: string): Promise<ReturnType<typeof createClient>> {
  const client = createClient({ url, disableOfflineQueue: true, socket: { reconnectStrategy: () => 50 } })
  client.on('error', () => {})
  await client.connect()
  return client as ReturnType<typeof createClient>
}

/** A cluster of node-redis as users are advised to make it, connected. */
export async function openNodeRedisCluster(url: string): Promise<NodeRedisCluster> {
  const rootNodes = url
    .replace(/^.*:\/\//, '')
    .split(',')
    .map(place => ({ url: `redis://${place}` }))
  const cluster = createCluster({ rootNodes, defaults: { disableOfflineQueue: true } })
  cluster.on('error', () => {})
  await cluster.connect()
  return cluster
}
