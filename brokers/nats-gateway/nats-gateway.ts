import type { Duplex } from 'node:stream'
import { assertSupported, warnUnsupportedOnReload } from '../../src/adapter/unsupported-outcomes.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { findUnsupported } from '../../src/gateway/capabilities.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { enforceBans } from '../../src/gateway/enforce-bans.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import { GatewayConnection } from './gateway-connection.ts'
import { GatewayContext, type GatewayCounters } from './gateway-context.ts'
import type { NatsGatewayOptions } from './options.ts'

/** Name in errors. */
const NAME = 'the NATS gateway'

const DRAIN_MS = 5_000

export interface NatsGatewayStats extends GuardStats, Readonly<GatewayCounters> {
  readonly connections: number
  /** Sockets that are not read now, because the other side is slower or a message is held. */
  readonly clientsUnread: number
  readonly serversUnread: number
  /** Milliseconds for which sockets were not read, of all connections together. */
  readonly clientsPausedMs: number
  readonly serverPausedMs: number
}

/** Gateway between NATS clients and a server. */
export interface NatsGateway {
  readonly gate: Gate
  /** Serves a client. `stream` is its connection without PROXY header and TLS; on WebSocket the bytes of the messages. */
  handle(stream: Duplex, peer: ClientPeer): void
  stats(): NatsGatewayStats
  /**
   * Closes all connections. Clients are asked to connect elsewhere, held messages may pass for at most `graceMs` (default:
   * 5,000), and the server has handled what it got.
   */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Creates a gateway in front of a NATS server. It limits connects, publishes, subscriptions and deliveries, and forwards
 * all that passes as it came. Each client gets a connection of its own to the server. A refused request is answered with
 * error 429. Throws UnsupportedError if a rule uses an outcome that the gateway cannot enact, such as `retry`. A policy
 * loaded later with such a rule logs a warning, and its messages are dropped.
 */
export function natsGateway(gate: Gate, options: NatsGatewayOptions): NatsGateway {
  const findProblems = (): readonly string[] => [
    ...findUnsupported(gate, NAME),
    ...findForeignRedirects(gate),
  ]
  assertSupported(findProblems())
  const context = new GatewayContext(gate, options)
  const connections = new Set<GatewayConnection>()
  const onClosed = (connection: GatewayConnection): void => void connections.delete(connection)
  const detach = [
    warnUnsupportedOnReload(gate, context.logger, findProblems),
    enforceBans(gate, connections),
    gate.loadSources.add({ queueDepth: () => context.guard.stats().held }),
  ]
  let closing: Promise<void> | undefined
  const closeAll = async (graceMs: number): Promise<void> => {
    await Promise.all([...connections].map(connection => connection.drain(graceMs)))
    for (const each of detach) each()
    context.close()
  }
  const close: NatsGateway['close'] = ({ graceMs = DRAIN_MS } = {}) => {
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
      clientsUnread: context.clientPauses.paused,
      serversUnread: context.serverPauses.paused,
      clientsPausedMs: context.clientPauses.pausedMs,
      serverPausedMs: context.serverPauses.pausedMs,
    }),
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

/** Describes the rules that redirect to topics of MQTT. */
function findForeignRedirects(gate: Gate): readonly string[] {
  const rules = gate.outcomes('publish').get('redirect') ?? []
  return rules
    .filter(rule => gate.ruleOf(rule)?.exceeded.redirect?.dialect !== 'nats')
    .map(
      rule =>
        `${NAME} cannot enact "redirect" on publish, which "${rule}" asks for: its topic is an MQTT topic (write dialect: 'nats' in the rule)`,
    )
}
