import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { type RedisServer, startRedis } from './redis.ts'
import { startServer, type TestServer } from './server.ts'
import { until } from './wait.ts'

export interface RedisSentinel extends AsyncDisposable {
  /** `redis+sentinel://127.0.0.1:port,…/limits`. */
  readonly url: string
  /** Master, then its replicas. */
  readonly nodes: readonly RedisServer[]
  /** Returns the port of the master, as reported by a sentinel. */
  masterPort(): Promise<number>
  stop(): Promise<void>
}

const MASTER_NAME = 'limits'

/** Starts a master, two replicas, and three sentinels that fail over two seconds after the last answer of the master. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const master = await startRedis()
  const link = ['--replicaof', `127.0.0.1 ${master.port}`, '--repl-diskless-sync-delay', '0']
  const replicas = await Promise.all([1, 2].map(() => startRedis({ args: link })))
  const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(master.port)))
  const sentinelClients = sentinels.map(({ port }) => new Redis({ port, host: '127.0.0.1' }))
  for (const client of sentinelClients) client.on('error', () => {})
  const stop = async (): Promise<void> => {
    for (const client of sentinelClients) client.disconnect()
    await Promise.all([...sentinels, ...replicas, master].map(server => server.stop('SIGKILL')))
  }
  const masterPort = async (): Promise<number> => {
    const address = (await sentinelClients[0]!.call(
      'SENTINEL',
      'GET-MASTER-ADDR-BY-NAME',
      MASTER_NAME,
    )) as string[]
    return Number(address[1])
  }
  try {
    // Waits until each sentinel knows the two others. Why: with fewer known sentinels the majority is smaller, and two of
    // them could choose different masters.
    for (const client of sentinelClients) {
      await until(() => knowsPeers(client, 2, 2), {
        timeoutMs: 20_000,
        what: 'the sentinels to know all nodes',
      })
    }
    for (const replica of replicas) await waitForReplication(replica)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${MASTER_NAME}`,
    nodes: [master, ...replicas],
    masterPort,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

function startSentinel(masterPort: number): Promise<TestServer> {
  return startServer({
    program: 'redis-server',
    variable: 'TOPICGATE_REDIS_SERVER',
    args: async (port, folder) => {
      const file = join(folder, 'sentinel.conf')
      const lines = [
        ...[`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`],
        `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${masterPort} 2`,
        `sentinel down-after-milliseconds ${MASTER_NAME} 2000`,
        `sentinel failover-timeout ${MASTER_NAME} 10000`,
      ]
      await writeFile(file, `${lines.join('\n')}\n`)
      return [file, '--sentinel']
    },
  })
}

/** Returns true if a sentinel knows this number of replicas and of other sentinels. */
async function knowsPeers(client: Redis, replicas: number, others: number): Promise<boolean> {
  const fields = (await client.call('SENTINEL', 'MASTER', MASTER_NAME)) as string[]
  const numberOf = (name: string): number => Number(fields[fields.indexOf(name) + 1])
  return numberOf('num-slaves') === replicas && numberOf('num-other-sentinels') === others
}

/** Waits until a replica is connected to its master and has copied its data. */
async function waitForReplication({ port }: RedisServer): Promise<void> {
  const client = new Redis({ port, host: '127.0.0.1' })
  const isUp = async (): Promise<boolean> => (await client.info('replication')).includes('link_status:up')
  await until(isUp, { timeoutMs: 20_000, what: 'a replica to be in sync with its master' })
  client.disconnect()
}
