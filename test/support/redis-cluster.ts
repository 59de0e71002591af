import { Redis } from 'ioredis'
import { freePort } from './ports.ts'
import { type RedisServer, startRedis } from './redis.ts'
import { until } from './wait.ts'

const SLOTS = 16_384
const MEET_EVERY_MS = 5_000

export interface RedisCluster extends AsyncDisposable {
  /** `redis+cluster://127.0.0.1:port,…` with the ports of the masters. */
  readonly url: string
  /** Masters, then the replica of each master, in the same order. */
  readonly nodes: readonly RedisServer[]
  /** Returns a client of one node, for any command. */
  admin(node: number): Redis
  /** Moves a slot with all its keys from one master to another, as an operator would. */
  moveSlot(slot: number, from: number, to: number): Promise<void>
  stop(): Promise<void>
}

export interface ClusterOptions {
  /** Number of masters. Default: 3. */
  readonly masters?: number
  /** True to start one replica for each master. Default: false. */
  readonly replicas?: boolean
  /** Milliseconds without an answer after which a node counts as failed. Default: 1,000. */
  readonly nodeTimeoutMs?: number
}

/** Starts a Redis Cluster and waits until every node is connected and all slots are served. */
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
    await formCluster(nodes, admins, masters)
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

/** Starts a node with a free bus port. Why: the default bus port is the port of the node + 10,000, which may not exist. */
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

/** Assigns the slots, connects the nodes and attaches the replicas, as `redis-cli --cluster create` does. */
async function formCluster(
  nodes: readonly RedisServer[],
  admins: readonly Redis[],
  masters: number,
): Promise<void> {
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
  let lastMeetMs = Number.NEGATIVE_INFINITY
  const areAllConnected = async (): Promise<boolean> => {
    // On a busy machine a handshake may time out, and the nodes must meet again.
    if (performance.now() - lastMeetMs > MEET_EVERY_MS) {
      for (let index = 1; index < nodes.length; index++) {
        await admins[0]!.call('CLUSTER', 'MEET', '127.0.0.1', String(nodes[index]!.port), await bus(index))
      }
      lastMeetMs = performance.now()
    }
    return everyNode(admins, admin => knowsNodes(admin, nodes.length))
  }
  await until(areAllConnected, { what: 'all nodes to be connected' })
  for (let index = masters; index < nodes.length; index++) {
    const master = String(await admins[index - masters]!.call('CLUSTER', 'MYID'))
    await until(async () => (await admins[index]!.call('CLUSTER', 'REPLICATE', master)) === 'OK')
  }
  await until(() => everyNode(admins, isNodeReady), { what: 'all nodes to be ready' })
}

async function everyNode(
  admins: readonly Redis[],
  test: (admin: Redis) => Promise<boolean>,
): Promise<boolean> {
  return (await Promise.all(admins.map(test))).every(Boolean)
}

/** Returns true if a node is connected to `count` nodes, itself included. */
async function knowsNodes(admin: Redis, count: number): Promise<boolean> {
  const lines = String(await admin.call('CLUSTER', 'NODES'))
    .trim()
    .split('\n')
  return lines.length === count && lines.every(line => !/handshake|fail|noaddr/.test(line))
}

/** Returns true if a node sees all slots served and, if it is a replica, follows its master. */
async function isNodeReady(admin: Redis): Promise<boolean> {
  const info = String(await admin.call('CLUSTER', 'INFO'))
  if (!info.includes('cluster_state:ok')) return false
  const replication = await admin.info('replication')
  return !replication.includes('role:slave') || replication.includes('master_link_status:up')
}
