import type { Duplex } from 'node:stream'
import { assertSupported, warnUnsupportedOnReload } from '../broker-support/unsupported-outcomes.ts'
import type { Sender } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import type { GuardStats } from '../guard/guard.ts'
import type { ClientPeer } from './client-peer.ts'
import { enforceBans } from './enforce-bans.ts'
import type { GatewayConnection } from './gateway-connection.ts'
import type { GatewayContext, GatewayCounters } from './gateway-context.ts'

const DRAIN_MS = 5_000

export interface GatewayStats extends GuardStats, Readonly<GatewayCounters> {
  readonly connections: number
  /** Sockets that are not read now, because the other side is slower or a message is held. */
  readonly clientsUnread: number
  readonly brokersUnread: number
  /** Milliseconds for which sockets were not read, of all connections together. */
  readonly clientsPausedMs: number
  readonly brokerPausedMs: number
}

/** Gateway between clients and a broker. */
export interface Gateway<Stats extends GatewayStats = GatewayStats> {
  readonly gate: Gate
  /** Serves a client. `stream` is its connection without PROXY header and TLS; on WebSocket the bytes of the messages. */
  handle(stream: Duplex, peer: ClientPeer): void
  stats(): Stats
  /** Returns the sender of a connected client; undefined if it is not connected. */
  senderOf(clientId: string): Sender | undefined
  /**
   * Closes all connections. Held messages may pass for at most `graceMs` (default: 5,000), and the broker has handled
   * what it got. Messages without an acknowledgement stay with their senders.
   */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Parts of a gateway that depend on its protocol. */
export interface GatewayProtocol<Context extends GatewayContext, Stats extends GatewayStats> {
  /** Lists demands of the gate's rules that the gateway cannot meet. */
  readonly findUnsupported: () => readonly string[]
  /** Called after the rules were checked. */
  readonly createContext: () => Context
  readonly createConnection: (
    context: Context,
    stream: Duplex,
    peer: ClientPeer,
    onClosed: () => void,
  ) => GatewayConnection<Context>
  readonly completeStats: (stats: GatewayStats, context: Context) => Stats
}

/** Creates a gateway of a protocol. Throws UnsupportedError if the gateway cannot enact a rule. */
export function createGateway<Context extends GatewayContext, Stats extends GatewayStats>(
  gate: Gate,
  protocol: GatewayProtocol<Context, Stats>,
): Gateway<Stats> {
  assertSupported(protocol.findUnsupported())
  const context = protocol.createContext()
  const connections = new Set<GatewayConnection<Context>>()
  const detach = [
    warnUnsupportedOnReload(gate, context.logger, protocol.findUnsupported),
    enforceBans(gate, connections),
    gate.loadSources.add({ queueDepth: () => context.guard.stats().held }),
  ]
  let closing: Promise<void> | undefined
  const closeAll = async (graceMs: number): Promise<void> => {
    await Promise.all([...connections].map(connection => connection.drain(graceMs)))
    for (const each of detach) each()
    context.close()
  }
  const close: Gateway['close'] = ({ graceMs = DRAIN_MS } = {}) => {
    closing ??= closeAll(graceMs)
    return closing
  }
  return {
    gate,
    handle: (stream, peer) => {
      if (closing !== undefined) {
        stream.destroy()
        return
      }
      const onClosed = (): void => void connections.delete(connection)
      const connection = protocol.createConnection(context, stream, peer, onClosed)
      connections.add(connection)
    },
    stats: () => {
      const { guard, counters, clientPauses, brokerPauses } = context
      const stats = {
        ...guard.stats(),
        ...counters,
        connections: connections.size,
        clientsUnread: clientPauses.paused,
        brokersUnread: brokerPauses.paused,
        clientsPausedMs: clientPauses.pausedMs,
        brokerPausedMs: brokerPauses.pausedMs,
      }
      return protocol.completeStats(stats, context)
    },
    senderOf: clientId => {
      for (const connection of connections) if (connection.clientId === clientId) return connection.sender
      return undefined
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}
