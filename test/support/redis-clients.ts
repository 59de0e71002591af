import { once } from 'node:events'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { createClient, createCluster } from 'redis'
import type { NodeRedisCluster } from '../../src/stores/redis/index.ts'

/** Opens an ioredis client with the options that the documentation recommends, and waits until it is ready. */
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

/** Opens an ioredis Cluster with the recommended options, and waits until it is ready. */
export async function openIoredisCluster(url: string, options: ClusterOptions = {}): Promise<Cluster> {
  const nodes = url
    .replace(/^.*:\/\//, '')
    .split(',')
    .map(address => ({ host: address.split(':')[0]!, port: Number(address.split(':')[1]) }))
  const redisOptions = { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false }
  const cluster = new Cluster(nodes, { enableOfflineQueue: false, redisOptions, ...options })
  cluster.on('error', () => {})
  if (cluster.status !== 'ready') await once(cluster, 'ready')
  return cluster
}

/** Opens a client of node-redis with the recommended options, and waits until it is connected. */
export async function openNodeRedis(url: string): Promise<ReturnType<typeof createClient>> {
  const client = createClient({ url, disableOfflineQueue: true, socket: { reconnectStrategy: () => 50 } })
  client.on('error', () => {})
  await client.connect()
  return client as ReturnType<typeof createClient>
}

/** Opens a cluster client of node-redis with the recommended options, and waits until it is connected. */
export async function openNodeRedisCluster(url: string): Promise<NodeRedisCluster> {
  const rootNodes = url
    .replace(/^.*:\/\//, '')
    .split(',')
    .map(address => ({ url: `redis://${address}` }))
  const cluster = createCluster({ rootNodes, defaults: { disableOfflineQueue: true } })
  cluster.on('error', () => {})
  await cluster.connect()
  return cluster
}
