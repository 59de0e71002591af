import { Redis } from 'ioredis'
import { freePort } from './ports.ts'
import { type RedisServer, startRedis } from './redis.ts'
import { until } from './wait.ts'

const SLOTS = 16_384
const MEET_AGAIN_MS = 5_000

export interface RedisCluster extends AsyncDisposable {
  /** `redis+cluster://127.0.0.1:port,…`: of the masters. */
  readonly url: string
  /** The masters first, then a replica of each, in the same order. */
  readonly nodes: readonly RedisServer[]
  /** Of its own connection, to ask a node anything. */
  admin(node: number): Redis
  /** Moves a slot, with all its keys, from the node that holds it to another master, as an operator does. */
  moveSlot(slot: number, from: number, to: number): Promise<void>
  stop(): Promise<void>
}

export interface ClusterOptions {
  readonly masters?: number
  readonly replicas?: boolean
  /** Milliseconds until a silent node counts as dead. */
  readonly nodeTimeoutMs?: number
}

/** Starts a Redis Cluster of nodes of its own, put together by hand, and waits until every node sees all slots. */
export async function startRedisCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicas = false, nodeTimeoutMs = 1_000 } = options
  const count = replicas ? 2 * masters : masters
  const nodes = await Promise.all(Array.from({ length: count }, () => startNode(nodeTimeoutMs)))
  const admins = nodes.map(({ port }) => new Redis({ port, host: '127.0.0.1' }))
  for (const admin of admins) admin.on('error', () => {})
  const stop = async (): Promise<void> => {
    for (const admin of admins) admin.disconnect()
    await Promise.all(nodes.map(node => node.stop('SIGKILL')))
  }
  try {
    await join(nodes, admins, masters)
  } catch (error) {
    await stop()
    throw error
  }
  const idOf = async (node: number): Promise<string> => String(await admins[node]!.call('CLUSTER', 'MYID'))
  return {
    url: `redis+cluster://${nodes
      .slice(0, masters)
      .map(({ port }) => `127.0.0.1:${port}`)
      .join(',')}`,
    nodes,
    admin: node => admins[node]!,
    async moveSlot(slot, from, to) {
      const [source, target] = [await idOf(from), await idOf(to)]
      const text = String(slot)
      await admins[to]!.call('CLUSTER', 'SETSLOT', text, 'IMPORTING', source)
      await admins[from]!.call('CLUSTER', 'SETSLOT', text, 'MIGRATING', target)
      while (true) {
        const keys = (await admins[from]!.call('CLUSTER', 'GETKEYSINSLOT', text, '100')) as string[]
        if (keys.length === 0) break
        await admins[from]!.call(
          ...['MIGRATE', '127.0.0.1', String(nodes[to]!.port), '', '0', '5000', 'KEYS'],
          ...keys,
        )
      }
      await admins[to]!.call('CLUSTER', 'SETSLOT', text, 'NODE', target)
      await admins[from]!.call('CLUSTER', 'SETSLOT', text, 'NODE', target)
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** The bus of a node is at its port and 10,000 more, unless it is told: and that may be no port at all. */
async function startNode(nodeTimeoutMs: number): Promise<RedisServer> {
  const bus = await freePort()
  return startRedis({
    args: [
      ...['--cluster-enabled', 'yes', '--cluster-port', String(bus)],
      ...['--cluster-node-timeout', String(nodeTimeoutMs), '--cluster-replica-validity-factor', '0'],
      ...['--repl-diskless-sync-delay', '0', '--enable-debug-command', 'yes'],
    ],
  })
}

async function join(nodes: readonly RedisServer[], admins: readonly Redis[], masters: number): Promise<void> {
  const share = Math.ceil(SLOTS / masters)
  await Promise.all(
    admins.slice(0, masters).map((admin, index) => {
      const last = Math.min(SLOTS, (index + 1) * share) - 1
      return admin.call('CLUSTER', 'ADDSLOTSRANGE', String(index * share), String(last))
    }),
  )
  await Promise.all(
    admins.map((admin, index) => admin.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))),
  )
  const bus = async (index: number): Promise<string> =>
    ((await admins[index]!.call('CONFIG', 'GET', 'cluster-port')) as string[])[1]!
  let metMs = Number.NEGATIVE_INFINITY
  const haveMet = async (): Promise<boolean> => {
    // On a busy machine a handshake may end at its time limit, and the node is forgotten.
    if (performance.now() - metMs > MEET_AGAIN_MS) {
      for (let index = 1; index < nodes.length; index++) {
        await admins[0]!.call('CLUSTER', 'MEET', '127.0.0.1', String(nodes[index]!.port), await bus(index))
      }
      metMs = performance.now()
    }
    return everyone(admins, admin => knows(admin, nodes.length))
  }
  await until(haveMet, { what: 'the nodes to know each other' })
  for (let index = masters; index < nodes.length; index++) {
    const master = String(await admins[index - masters]!.call('CLUSTER', 'MYID'))
    await until(async () => (await admins[index]!.call('CLUSTER', 'REPLICATE', master)) === 'OK')
  }
  await until(() => everyone(admins, isWhole), { what: 'the cluster to be whole' })
}

async function everyone(
  admins: readonly Redis[],
  test: (admin: Redis) => Promise<boolean>,
): Promise<boolean> {
  return (await Promise.all(admins.map(test))).every(Boolean)
}

async function knows(admin: Redis, count: number): Promise<boolean> {
  const lines = String(await admin.call('CLUSTER', 'NODES'))
    .trim()
    .split('\n')
  return lines.length === count && lines.every(line => !/handshake|fail|noaddr/.test(line))
}

async function isWhole(admin: Redis): Promise<boolean> {
  const info = String(await admin.call('CLUSTER', 'INFO'))
  if (!info.includes('cluster_state:ok')) return false
  const replication = await admin.info('replication')
  return !replication.includes('role:slave') || replication.includes('master_link_status:up')
}
