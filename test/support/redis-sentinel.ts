import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { type RedisServer, startRedis } from './redis.ts'
import { startServer, type TestServer } from './server.ts'
import { until } from './wait.ts'

export interface RedisSentinel extends AsyncDisposable {
  /** `redis+sentinel://127.0.0.1:port,…/limits`. */
  readonly url: string
  /** The master first, then its replicas. */
  readonly nodes: readonly RedisServer[]
  /** The port of the master as the sentinels see it. */
  masterPort(): Promise<number>
  stop(): Promise<void>
}

const NAME = 'limits'

/** Starts a master with two replicas and three sentinels that fail over after two seconds of silence. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const master = await startRedis()
  const link = ['--replicaof', `127.0.0.1 ${master.port}`, '--repl-diskless-sync-delay', '0']
  const replicas = await Promise.all([1, 2].map(() => startRedis({ args: link })))
  const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(master.port)))
  const askers = sentinels.map(({ port }) => new Redis({ port, host: '127.0.0.1' }))
  for (const asker of askers) asker.on('error', () => {})
  const stop = async (): Promise<void> => {
    for (const asker of askers) asker.disconnect()
    await Promise.all([...sentinels, ...replicas, master].map(server => server.stop('SIGKILL')))
  }
  const masterPort = async (): Promise<number> => {
    const address = (await askers[0]!.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME)) as string[]
    return Number(address[1])
  }
  try {
    // One that knows of fewer others would think itself the majority too soon, and there would be two masters.
    for (const asker of askers) {
      await until(() => sees(asker, 2, 2), { timeoutMs: 20_000, what: 'the sentinels to see all' })
    }
    for (const replica of replicas) await linked(replica)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${NAME}`,
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
        `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} 2`,
        `sentinel down-after-milliseconds ${NAME} 2000`,
        `sentinel failover-timeout ${NAME} 10000`,
      ]
      await writeFile(file, `${lines.join('\n')}\n`)
      return [file, '--sentinel']
    },
  })
}

async function sees(asker: Redis, replicas: number, others: number): Promise<boolean> {
  const fields = (await asker.call('SENTINEL', 'MASTER', NAME)) as string[]
  const numberOf = (name: string): number => Number(fields[fields.indexOf(name) + 1])
  return numberOf('num-slaves') === replicas && numberOf('num-other-sentinels') === others
}

/** Resolves when a replica has all that its master has. */
async function linked({ port }: RedisServer): Promise<void> {
  const client = new Redis({ port, host: '127.0.0.1' })
  const isUp = async (): Promise<boolean> => (await client.info('replication')).includes('link_status:up')
  await until(isUp, { timeoutMs: 20_000, what: 'a replica to follow its master' })
  client.disconnect()
}
