import type { Duplex } from 'node:stream'
import { assertSupported, warnUnsupportedOnReload } from '../../src/adapter/unsupported-outcomes.ts'
import type { Sender } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { findUnsupported } from '../../src/gateway/capabilities.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { enforceBans } from '../../src/gateway/enforce-bans.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import { GatewayConnection } from './gateway-connection.ts'
import { GatewayContext, type GatewayCounters, nameOfPacketType } from './gateway-context.ts'
import type { MqttGatewayOptions } from './options.ts'

/** Name in errors. */
const NAME = 'the MQTT gateway'

const DRAIN_MS = 5_000

/** A number of packets by type, such as `puback`. */
export interface PacketCount {
  readonly packet: string
  readonly count: number
}

export interface MqttGatewayStats extends GuardStats, Readonly<GatewayCounters> {
  readonly connections: number
  /** Packets that the gateway sent to clients itself; `code` is the reason code or return code. */
  readonly answers: readonly (PacketCount & { readonly code: number })[]
  readonly rewrites: readonly PacketCount[]
  /** Sockets that are not read now, because the other side is slower or a message is held. */
  readonly clientsUnread: number
  readonly brokersUnread: number
  /** Milliseconds for which sockets were not read, of all connections together. */
  readonly clientsPausedMs: number
  readonly brokerPausedMs: number
}

/** Gateway between MQTT clients and a broker. */
export interface MqttGateway {
  readonly gate: Gate
  /** Serves a client. `stream` is its connection without PROXY header and TLS; on WebSocket the bytes of the messages. */
  handle(stream: Duplex, peer: ClientPeer): void
  stats(): MqttGatewayStats
  /** Returns the sender of a connected client; undefined if it is not connected. */
  senderOf(clientId: string): Sender | undefined
  /**
   * Closes all connections. Held messages may pass for at most `graceMs` (default: 5,000), and forwarded ones are
   * acknowledged. Messages without an acknowledgement stay with their senders.
   */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Creates a gateway in front of an MQTT broker (MQTT 3.1, 3.1.1 and 5). It limits connects, publishes, wills,
 * subscriptions and deliveries, and forwards all that passes as it came. Each client gets a connection of its own to the
 * broker, once its CONNECT has passed the rules. Throws UnsupportedError if a rule uses an outcome that the gateway
 * cannot enact, such as `retry`. A policy loaded later with such a rule logs a warning, and its messages are dropped.
 */
export function mqttGateway(gate: Gate, options: MqttGatewayOptions): MqttGateway {
  assertSupported(findUnsupported(gate, NAME))
  const context = new GatewayContext(gate, options)
  const connections = new Set<GatewayConnection>()
  const onClosed = (connection: GatewayConnection): void => void connections.delete(connection)
  const detach = [
    warnUnsupportedOnReload(gate, context.logger, () => findUnsupported(gate, NAME)),
    enforceBans(gate, connections),
    gate.loadSources.add({ queueDepth: () => context.guard.stats().held }),
  ]
  let closing: Promise<void> | undefined
  const closeAll = async (graceMs: number): Promise<void> => {
    await Promise.all([...connections].map(connection => connection.drain(graceMs)))
    for (const each of detach) each()
    context.close()
  }
  const close: MqttGateway['close'] = ({ graceMs = DRAIN_MS } = {}) => {
    closing ??= closeAll(graceMs)
    return closing
  }
  return {
    gate,
    handle: (stream, peer) => {
      if (closing !== undefined) stream.destroy()
      else connections.add(new GatewayConnection(context, stream, peer, onClosed))
    },
    stats: () => ({
      ...context.guard.stats(),
      ...context.counters,
      connections: connections.size,
      answers: Array.from(context.answers, ([key, count]) => ({
        packet: nameOfPacketType(key >> 8),
        code: key & 0xff,
        count,
      })),
      rewrites: Array.from(context.rewrites, ([type, count]) => ({ packet: nameOfPacketType(type), count })),
      clientsUnread: context.clientPauses.paused,
      brokersUnread: context.brokerPauses.paused,
      clientsPausedMs: context.clientPauses.pausedMs,
      brokerPausedMs: context.brokerPauses.pausedMs,
    }),
    senderOf: clientId => {
      for (const connection of connections) if (connection.clientId === clientId) return connection.sender
      return undefined
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}
