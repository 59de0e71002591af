import { afterAll, describe, expect, it } from 'vitest'
import { clusterSnapshot, RedisSnapshots, systemClock } from '../../../../src/index.ts'
import { type AnyRedisClient, adaptRedisClient } from '../../../../src/stores/redis/adapt-redis-client.ts'
import { commandsOf } from '../../../../src/stores/redis/backend-commands.ts'
import { startRedis } from '../../../support/redis.ts'
import {
  openIoredis,
  openIoredisCluster,
  openNodeRedis,
  openNodeRedisCluster,
} from '../../../support/redis-clients.ts'
import { startRedisCluster } from '../../../support/redis-cluster.ts'

const server = await startRedis()
const cluster = await startRedisCluster()
afterAll(async () => {
  await server.stop()
  await cluster.stop()
})

const CLIENTS: Readonly<
  Record<string, () => Promise<AnyRedisClient & { destroy?(): void; disconnect?(): void }>>
> = {
  ioredis: () => openIoredis(server.url),
  'node-redis': async () => (await openNodeRedis(server.url)) as never,
  'ioredis Cluster': () => openIoredisCluster(cluster.url),
  'node-redis Cluster': async () => (await openNodeRedisCluster(cluster.url)) as never,
}

describe.each(Object.keys(CLIENTS))('records of other features, by %s', name => {
  it('are stored, listed and expired', async () => {
    const client = await CLIENTS[name]!()
    const commands = commandsOf(adaptRedisClient(client, {}), 5_000)
    const snapshots = new RedisSnapshots({ client: commands, prefix: `by ${name}` })
    for (let n = 0; n < 20; n++) await snapshots.put(`node-${n}`, `{"n":${n}}`, n === 7 ? 1 : 60_000)
    await new Promise(resolve => setTimeout(resolve, 5))
    const found = await snapshots.list()
    expect(found).toHaveLength(19)
    expect(found).toContainEqual({ node: 'node-19', json: '{"n":19}' })
    // None of them is a record of analytics.
    expect((await clusterSnapshot(snapshots, '24h', systemClock)).total).toBe(0)
    await (client.destroy ?? client.disconnect)?.call(client)
  })
})
