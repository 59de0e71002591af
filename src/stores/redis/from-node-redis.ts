import type { AdapterOptions, Emitting, RedisClient, RedisServerLink } from './client.ts'

interface Connection extends Emitting {
  readonly isReady: boolean
  readonly isOpen: boolean
  destroy(): void
}

/** A client of node-redis (`createClient`), as far as it is used. */
export interface NodeRedisClient extends Connection {
  connect(): Promise<unknown>
  sendCommand(args: string[]): Promise<unknown>
}

/** A cluster of node-redis (`createCluster`), as far as it is used. */
export interface NodeRedisCluster extends Connection {
  readonly masters: readonly Node[]
  readonly slots: readonly ({ readonly master: Node } | undefined)[]
  nodeClient(node: never): Promise<NodeRedisClient> | NodeRedisClient
  sendCommand(firstKey: string | undefined, isReadonly: boolean | undefined, args: string[]): Promise<unknown>
}

interface Node {
  readonly address: string
}

/** node-redis (5 or newer), standalone or Cluster; connected by whoever made it, best with `disableOfflineQueue`. */
export function fromNodeRedis(
  client: NodeRedisClient | NodeRedisCluster,
  options: AdapterOptions = {},
): RedisClient {
  const { onError = () => {}, owned = false } = options
  client.on('error', onError)
  const cluster = 'nodeClient' in client ? client : undefined
  const run = (command: string, script: string, keys: readonly string[], args: readonly string[]) => {
    const words = [command, script, String(keys.length), ...keys, ...args]
    if (cluster) return cluster.sendCommand(keys[0], false, words)
    return (client as NodeRedisClient).sendCommand(words)
  }
  const clientOf = async (node: Node): Promise<NodeRedisClient> => cluster!.nodeClient(node as never)
  return {
    isCluster: cluster !== undefined,
    isReady: () => client.isReady,
    serverOf: slot => cluster?.slots[slot]?.master.address ?? '',
    evalsha: (sha, keys, args) => run('EVALSHA', sha, keys, args),
    eval: (script, keys, args) => run('EVAL', script, keys, args),
    async masters() {
      const all = cluster ? await Promise.all(cluster.masters.map(clientOf)) : [client as NodeRedisClient]
      return all.map(
        (one): RedisServerLink => ({ call: (command, ...args) => one.sendCommand([command, ...args]) }),
      )
    },
    drop(slot) {
      const master = cluster?.slots[slot]?.master
      if (cluster === undefined) reopen(client as NodeRedisClient, onError)
      else if (master) clientOf(master).then(one => reopen(one, onError), onError)
    },
    async close() {
      client.removeListener('error', onError)
      client.on('error', () => {})
      if (owned && client.isOpen) client.destroy()
    },
  }
}

/** Only a client that is connected is dropped: one that is not yet is already trying. */
function reopen(client: NodeRedisClient, onError: (error: unknown) => void): void {
  if (!client.isReady) return
  client.destroy()
  client.connect().catch(onError)
}
