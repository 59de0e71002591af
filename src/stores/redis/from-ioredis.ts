import { StoreError } from '../../core/errors.ts'
import { checkOptionNames } from '../../core/option-names.ts'
import { type RedisConnectionState, watchRedisHandshake } from './handshake-timeout.ts'
import type {
  ChannelSubscription,
  Emitting,
  RedisAdapterOptions,
  RedisClient,
  RedisServerLink,
  SubscriptionEvents,
} from './redis-client-types.ts'
import { REDIS_ADAPTER_OPTIONS } from './redis-client-types.ts'

interface Commands extends Emitting {
  readonly status: string
  evalsha(sha: string, keys: number, ...rest: string[]): Promise<unknown>
  eval(script: string, keys: number, ...rest: string[]): Promise<unknown>
  disconnect(reconnect?: boolean): void
}

/** Used part of an ioredis client. */
export interface IoredisClient extends Commands, RedisServerLink {
  readonly stream?: { destroy(): unknown; on?(event: 'error', listener: () => void): unknown } | undefined
  /** Server info from when the connection was made. */
  readonly serverInfo?: { readonly loading?: string } | undefined
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined }
  /** Opens another connection to the same server. */
  duplicate?(options: object): IoredisSubscriber
}

/** Used part of an ioredis client that subscribes. */
export interface IoredisSubscriber extends Pick<IoredisClient, 'stream'> {
  on(event: string, listener: (argument: unknown) => void): unknown
  connect(): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
  disconnect(): void
}

/** Used part of an ioredis Cluster. */
export interface IoredisCluster extends Commands {
  readonly isCluster: boolean
  /** Servers by slot, the master first. */
  readonly slots: readonly (readonly string[] | undefined)[]
  nodes(role?: 'all' | 'master' | 'slave'): IoredisClient[]
}

/**
 * Adapts ioredis (5 or 6): standalone, Sentinel or Cluster. Create the client with `enableOfflineQueue: false,
 * maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false`.
 */
export function fromIoredis(
  client: IoredisClient | IoredisCluster,
  options: RedisAdapterOptions = {},
): RedisClient {
  checkOptionNames(options, REDIS_ADAPTER_OPTIONS)
  const { onError = () => {}, owned = false } = options
  client.on('error', onError)
  const cluster = 'nodes' in client ? client : undefined
  client.on('error', addSocketErrorListener)
  const isReady = (): boolean => client.status === 'ready'
  const handshake = watchRedisHandshake(client, isReady, () => {
    for (const one of cluster?.nodes('all') ?? [client as IoredisClient]) {
      if (one.serverInfo?.loading === '1') return 'LOADING Redis is loading the dataset in memory'
      one.stream?.destroy()
    }
    return undefined
  })
  const nodes = new Map<IoredisClient, RedisConnectionState>()
  // Each cluster node is a client of its own; errors of a node explain why the cluster is not ready.
  const join = (added: unknown): void => {
    const node = added as IoredisClient
    node.on('error', addSocketErrorListener)
    const cut = (): undefined => void node.stream?.destroy()
    nodes.set(
      node,
      watchRedisHandshake(node, () => node.status === 'ready', cut),
    )
  }
  const part = (removed: unknown): void => {
    const node = removed as IoredisClient
    nodes.get(node)?.end()
    nodes.delete(node)
  }
  if (cluster !== undefined) {
    for (const node of cluster.nodes('all')) join(node)
    cluster.on('+node', join)
    cluster.on('-node', part)
  }
  const problem = (): string | undefined => {
    for (const node of nodes.values()) if (node.problem() !== undefined) return node.problem()
    return handshake.problem()
  }
  // Messages published on one cluster node reach all of them, so nodes are tried in turn.
  let turn = process.pid
  const subscribeNode = (): IoredisClient | undefined => {
    if (cluster === undefined) return client as IoredisClient
    const masters = cluster.nodes('master')
    return masters[turn++ % masters.length]
  }
  const canListen = cluster !== undefined || typeof (client as IoredisClient).duplicate === 'function'
  return {
    isCluster: cluster !== undefined,
    isReady,
    problem,
    serverOf: slot => cluster?.slots[slot]?.[0] ?? '',
    evalsha: (sha, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args),
    eval: (script, keys, args) => client.eval(script, keys.length, ...keys, ...args),
    masters: async () => (cluster ? cluster.nodes('master') : [client as IoredisClient]),
    drop(slot) {
      for (const one of cluster ? nodesOf(cluster, slot) : [client as IoredisClient]) {
        // disconnect() closes gracefully, which has no effect on a dead connection.
        one.stream?.destroy()
      }
    },
    listen: canListen ? (channel, events) => listen(subscribeNode(), channel, events, onError) : undefined,
    async close() {
      handshake.end()
      cluster?.removeListener('+node', join)
      cluster?.removeListener('-node', part)
      const clients = [client, ...nodes.keys()]
      for (const node of nodes.keys()) part(node)
      client.removeListener('error', onError)
      if (owned) {
        client.disconnect()
        client.on('error', () => {})
      } else for (const each of clients) each.removeListener('error', addSocketErrorListener)
    },
  }
}

/**
 * Listener of client errors that adds an error listener to the TLS socket. Why: the server may cause a second error
 * after that of its certificate; ioredis listens to one only, and the second would end the process.
 */
function addSocketErrorListener(this: unknown): void {
  ;(this as IoredisSubscriber).stream?.on?.('error', () => {})
}

/** Longest wait for the confirmation of a subscription. */
const SUBSCRIBE_TIMEOUT_MS = 5_000

function listen(
  source: IoredisClient | undefined,
  channel: string,
  { onLive, onMessage, onEnded }: SubscriptionEvents,
  onError: (error: unknown) => void,
): ChannelSubscription {
  if (source?.duplicate === undefined)
    throw new StoreError('redis: no connection can be opened to subscribe to changes')
  const subscription = source.duplicate({
    lazyConnect: true,
    enableOfflineQueue: true,
    autoResubscribe: false,
    keyPrefix: '',
    // The caller opens another one: on another cluster node, or where the sentinels say.
    retryStrategy: null,
    commandTimeout: SUBSCRIBE_TIMEOUT_MS,
  })
  subscription.on('error', onError)
  subscription.on('error', addSocketErrorListener)
  subscription.on('message', onMessage)
  subscription.on('end', onEnded)
  subscription
    .connect()
    .then(() => subscription.subscribe(channel))
    .then(onLive)
    .catch((error: unknown) => {
      onError(error)
      subscription.disconnect()
      onEnded()
    })
  return { close: () => subscription.disconnect() }
}

/** Returns the nodes that may hold a slot: its master, or all if unknown. */
function nodesOf(cluster: IoredisCluster, slot: number): readonly IoredisClient[] {
  const master = cluster.slots[slot]?.[0]
  const all = cluster.nodes('all')
  const known = all.filter(({ options }) => `${options.host}:${options.port}` === master)
  return known.length > 0 ? known : all
}
