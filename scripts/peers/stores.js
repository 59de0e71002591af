// The stores, with each client and driver that they take.
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { openNatsKv } from 'topicgate/nats-kv'
import { openRedis, RedisStore } from 'topicgate/redis'
import { openSqlite } from 'topicgate/sqlite'
import { checkStoreHealth } from './checks.js'

const { REDIS_URL, NATS_URL } = process.env

await checkStoreHealth('redis', await openRedis(REDIS_URL))

const ioredis = new Redis(REDIS_URL, { enableOfflineQueue: false, maxRetriesPerRequest: 0 })
await new Promise((resolve, reject) => ioredis.once('ready', resolve).once('error', reject))
await checkStoreHealth('ioredis', new RedisStore({ client: ioredis }))
ioredis.disconnect()

const nodeRedis = createClient({ url: REDIS_URL, disableOfflineQueue: true })
await nodeRedis.connect()
await checkStoreHealth('node-redis', new RedisStore({ client: nodeRedis }))
await nodeRedis.disconnect()

/** Loads one package, as if it were the only one that is installed. */
const only = wanted => name =>
  name === wanted
    ? import(name)
    : Promise.reject(Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' }))

for (const name of ['better-sqlite3', 'libsql']) {
  await checkStoreHealth(name, await openSqlite(`./${name}.db`, { load: only(name) }))
}
for (const name of ['@nats-io/transport-node', 'nats']) {
  await checkStoreHealth(`kv of ${name}`, await openNatsKv(NATS_URL, { load: only(name) }))
}
