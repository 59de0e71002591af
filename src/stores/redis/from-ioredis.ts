import type { AdapterOptions, Emitting, RedisClient, RedisServerLink } from './client.ts'

interface Commands extends Emitting {
  readonly status: string
  evalsha(sha: string, keys: number, ...rest: string[]): Promise<unknown>
  eval(script: string, keys: number, ...rest: string[]): Promise<unknown>
  disconnect(reconnect?: boolean): void
}

/** An ioredis client, as far as it is used. */
export interface IoredisClient extends Commands, RedisServerLink {
  readonly stream?: { destroy(): unknown } | undefined
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined }
}

/** An ioredis Cluster, as far as it is used. */
export interface IoredisCluster extends Commands {
  readonly isCluster: boolean
  /** By slot, the servers that hold it, its master first. */
  readonly slots: readonly (readonly string[] | undefined)[]
  nodes(role?: 'all' | 'master' | 'slave'): IoredisClient[]
}

/**
 * ioredis (5 or 6), standalone, behind Sentinel or Cluster. A client of the user's own is best made with
 * `enableOfflineQueue: false, maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false`.
 */
export function fromIoredis(
  client: IoredisClient | IoredisCluster,
  options: AdapterOptions = {},
): RedisClient {
  const { onError = () => {}, owned = false } = options
  client.on('error', onError)
  const cluster = 'nodes' in client ? client : undefined
  return {
    isCluster: cluster !== undefined,
    isReady: () => client.status === 'ready',
    serverOf: slot => cluster?.slots[slot]?.[0] ?? '',
    evalsha: (sha, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args),
    eval: (script, keys, args) => client.eval(script, keys.length, ...keys, ...args),
    masters: async () => (cluster ? cluster.nodes('master') : [client as IoredisClient]),
    drop(slot) {
      for (const one of cluster ? nodesOf(cluster, slot) : [client as IoredisClient]) {
        // disconnect() ends politely, which nobody hears at the other end of a dead line.
        one.stream?.destroy()
      }
    },
    async close() {
      if (owned) client.disconnect()
      client.removeListener('error', onError)
      if (owned) client.on('error', () => {})
    },
  }
}

/** The nodes that may hold a slot: its master, or all where that cannot be told. */
function nodesOf(cluster: IoredisCluster, slot: number): readonly IoredisClient[] {
  const master = cluster.slots[slot]?.[0]
  const all = cluster.nodes('all')
  const known = all.filter(({ options }) => `${options.host}:${options.port}` === master)
  return known.length > 0 ? known : all
}
