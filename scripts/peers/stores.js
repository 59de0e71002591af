// The stores, with each client and driver that they take.
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { openNatsKv } from 'topicgate/nats-kv'
import { openRedis, RedisStore } from 'topicgate/redis'
import { openSqlite } from 'topicgate/sqlite'
import { checkStore } from './checks.js'

const { REDIS_URL, NATS_URL } = process.env

await checkStore('redis', await openRedis(REDIS_URL))

const ioredis = new Redis(REDIS_URL, { enableOfflineQueue: false, maxRetriesPerRequest: 0 })
await new Promise((resolve, reject) => ioredis.once('ready', resolve).once('error', reject))
await checkStore('ioredis', new RedisStore({ client: ioredis }))
ioredis.disconnect()

const nodeRedis = createClient({ url: REDIS_URL, disableOfflineQueue: true })
await nodeRedis.connect()
await checkStore('node-redis', new RedisStore({ client: nodeRedis }))
await nodeRedis.disconnect()

/** Loads one package, as if it were the only one that is installed. */
const only = wanted => name =>
  name === wanted
    ? import(name)
    : Promise.reject(Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' }))

for (const name of ['better-sqlite3', 'libsql']) {
  await checkStore(name, await openSqlite(`./${name}.db`, { load: only(name) }))
}
for (const name of ['@nats-io/transport-node', 'nats']) {
  await checkStore(`kv of ${name}`, await openNatsKv(NATS_URL, { load: only(name) }))
}
