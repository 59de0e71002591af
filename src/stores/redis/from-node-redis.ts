import { systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { checkOptionNames } from '../../core/option-names.ts'
import { watchRedisHandshake } from './handshake-timeout.ts'
import type {
  ChannelSubscription,
  Emitting,
  RedisAdapterOptions,
  RedisClient,
  RedisServerLink,
  SubscriptionEvents,
} from './redis-client-types.ts'
import { REDIS_ADAPTER_OPTIONS } from './redis-client-types.ts'

const RECONNECT_MS = 20

interface Connection extends Emitting {
  readonly isReady: boolean
  readonly isOpen: boolean
  destroy(): void
}

/** Used part of a node-redis client (`createClient`). */
export interface NodeRedisClient extends Connection {
  connect(): Promise<unknown>
  sendCommand(args: string[]): Promise<unknown>
  /** Creates another client of the same server. */
  duplicate?(): NodeRedisSubscriber
}

/** Used part of a node-redis client that subscribes. */
export interface NodeRedisSubscriber extends Connection {
  connect(): Promise<unknown>
  subscribe(channel: string, listener: () => void): Promise<unknown>
}

/** Used part of a node-redis cluster (`createCluster`). */
export interface NodeRedisCluster extends Connection {
  readonly masters: readonly Node[]
  readonly slots: readonly ({ readonly master: Node } | undefined)[]
  nodeClient(node: never): Promise<NodeRedisClient> | NodeRedisClient
  sendCommand(firstKey: string | undefined, isReadonly: boolean | undefined, args: string[]): Promise<unknown>
}

interface Node {
  readonly address: string
}

/**
 * Adapts node-redis (5 or newer), standalone or Cluster. The caller connects it, preferably with
 * `disableOfflineQueue`.
 */
export function fromNodeRedis(
  client: NodeRedisClient | NodeRedisCluster,
  options: RedisAdapterOptions = {},
): RedisClient {
  checkOptionNames(options, REDIS_ADAPTER_OPTIONS)
  const { onError = () => {}, owned = false } = options
  client.on('error', onError)
  const cluster = 'nodeClient' in client ? client : undefined
  const handshake = watchRedisHandshake(
    client,
    () => client.isReady,
    () => {
      if (cluster !== undefined || !client.isOpen) return undefined
      client.destroy()
      // The client's own attempt ends in the next event loop turn; a second one at the same time would continue
      // too.
      systemClock.after(RECONNECT_MS, () => {
        if (!client.isOpen) (client as NodeRedisClient).connect().catch(onError)
      })
      return undefined
    },
  )
  const run = (command: string, script: string, keys: readonly string[], args: readonly string[]) => {
    const words = [command, script, String(keys.length), ...keys, ...args]
    if (cluster) return cluster.sendCommand(keys[0], false, words)
    return (client as NodeRedisClient).sendCommand(words)
  }
  let turn = process.pid
  // Messages published on one cluster node reach all of them, so nodes are tried in turn.
  const subscribeNode = async (): Promise<NodeRedisClient> => {
    const masters = cluster?.masters ?? []
    return cluster ? clientOf(masters[turn++ % masters.length]!) : (client as NodeRedisClient)
  }
  const canListen = cluster !== undefined || typeof (client as NodeRedisClient).duplicate === 'function'
  const clientOf = async (node: Node): Promise<NodeRedisClient> => cluster!.nodeClient(node as never)
  return {
    isCluster: cluster !== undefined,
    isReady: () => client.isReady,
    problem: handshake.problem,
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
    listen: canListen ? (channel, events) => listen(subscribeNode(), channel, events, onError) : undefined,
    async close() {
      handshake.end()
      client.removeListener('error', onError)
      // A client without a listener would end the process. Only one is left, however many stores used it.
      client.removeListener('error', ignoreError)
      client.on('error', ignoreError)
      if (owned && client.isOpen) client.destroy()
    },
  }
}

function ignoreError(): void {}

function listen(
  source: Promise<NodeRedisClient>,
  channel: string,
  { onLive, onMessage, onEnded }: SubscriptionEvents,
  onError: (error: unknown) => void,
): ChannelSubscription {
  let subscription: NodeRedisSubscriber | undefined
  let isClosed = false
  const end = (): void => {
    isClosed = true
    if (subscription?.isOpen) subscription.destroy()
  }
  const fail = (error: unknown): void => {
    if (isClosed) return
    // The client would reconnect without reporting missed messages, so another one is opened instead.
    onError(error)
    end()
    onEnded()
  }
  const begin = async (): Promise<void> => {
    subscription = (await source).duplicate?.()
    if (subscription === undefined)
      throw new StoreError('redis: no connection can be opened to subscribe to changes')
    subscription.on('error', fail)
    if (isClosed) return
    await subscription.connect()
    await subscription.subscribe(channel, onMessage)
    onLive()
  }
  begin().catch(fail)
  return { close: end }
}

/** Reconnects a connected client; one that is not connected is already trying. */
function reopen(client: NodeRedisClient, onError: (error: unknown) => void): void {
  if (!client.isReady) return
  client.destroy()
  client.connect().catch(onError)
}
