import type { Aedes, Client } from 'aedes'
import { assertSupported, warnUnsupportedOnReload } from '../../src/broker-support/unsupported-outcomes.ts'
import type { Sender } from '../../src/core/message.ts'
import type { Gate } from '../../src/gate/gate.ts'
import type { GuardStats } from '../../src/guard/guard.ts'
import { assertVersion } from './aedes-internals.ts'
import { BrokerContext, type MessageCounters } from './broker-context.ts'
import { findUnsupported } from './capabilities.ts'
import { restoreFastProperties } from './compose-hooks.ts'
import { drainBroker } from './graceful-shutdown.ts'
import { limitConnects } from './limit-connects.ts'
import { limitDeliveries } from './limit-deliveries.ts'
import { limitPublishes } from './limit-publishes.ts'
import { limitSubscriptions } from './limit-subscriptions.ts'
import type { LimitBrokerOptions } from './options.ts'
import { orderDeliveries } from './ordered-deliveries.ts'
import { limitPacketSizes } from './packet-size-limit.ts'
import { interceptPublishes } from './publish-interceptor.ts'
import { ResourceCounter } from './resource-counter.ts'

const DRAIN_MS = 5_000

export interface BrokerStats extends GuardStats, Readonly<MessageCounters> {
  readonly connections: number
}

/** A limiter attached to a broker. */
export interface BrokerLimiter {
  readonly gate: Gate
  stats(): BrokerStats
  /** Returns the sender of the connection that a client id has now; undefined if it is not connected. */
  senderOf(clientId: string): Sender | undefined
  /**
   * Calls a listener with each socket that has sent its CONNECT; returns a function that removes it. Used by
   * `limitServer`.
   */
  onConnect(listener: (socket: object) => void): () => void
  /**
   * Prepares a shutdown; call it before `broker.close()`. Held messages may pass for at most `withinMs` (default:
   * 5,000). Then new messages are neither processed nor acknowledged, so their senders keep them, and acknowledged
   * messages are sent to subscribers.
   */
  drain(withinMs?: number): Promise<void>
  /** Detaches the limiter from a running broker: restores the application's hooks and lets held messages pass. */
  detach(): void
}

/**
 * Limits publishes, wills, subscriptions, connects and deliveries of an aedes broker. Call it once, before or after the
 * application sets its own hooks, which run first. Rules about publishes do not apply to `broker.publish` and `$SYS`;
 * rules about deliveries do. Messages that a session restores on reconnect are not limited.
 *
 * Refused publishes: `drop` and `reject` acknowledge and discard, as MQTT 3.1.1 has no reason codes. `throttle` holds
 * them in order and stops reading the client. `queue` and `latest` hold them in their rule's queue, unacknowledged.
 * `redirect` publishes them on another topic. `disconnect` disconnects the client. `degrade` acknowledges the message
 * and delivers a reduced form. Throws UnsupportedError if a rule uses an outcome that aedes cannot enact, such as
 * `retry`. A policy loaded later with such a rule logs a warning, and its messages are dropped.
 */
export function limitBroker(broker: Aedes, gate: Gate, options: LimitBrokerOptions = {}): BrokerLimiter {
  assertVersion(broker)
  assertSupported(findUnsupported(gate))
  const context = new BrokerContext(broker, gate, options)
  const detachDeliveries = limitDeliveries(context)
  const resources = new ResourceCounter(context)
  const detachOrder = context.settings.acknowledgeStored ? orderDeliveries(broker) : undefined
  const interceptor = interceptPublishes(broker, resources)
  const detachAll = [
    detachDeliveries,
    limitPublishes(context, resources, interceptor),
    limitSubscriptions(context, resources),
    limitConnects(context, resources),
    limitPacketSizes(context),
    warnUnsupportedOnReload(gate, context.logger, () => findUnsupported(gate)),
    closeWithBroker(context),
    gate.loadSources.add({ queueDepth: () => context.guard.stats().held }),
  ]
  restoreFastProperties(broker)
  let isAttached = true
  return {
    gate,
    stats: () => ({ ...context.guard.stats(), ...context.counters, connections: context.connections.size }),
    senderOf: clientId => context.currentConnection(clientId)?.sender,
    onConnect: listener => {
      const listen = (client: Client): void => listener(client.req?.socket ?? client.conn)
      context.connectListeners.add(listen)
      return () => void context.connectListeners.delete(listen)
    },
    drain: (withinMs = DRAIN_MS) => drainBroker(context, withinMs),
    detach: () => {
      if (!isAttached) return
      isAttached = false
      for (const detach of detachAll) detach()
      resources.detach()
      for (const connection of context.connections) connection.open()
      context.guard.close('pass')
      for (const connection of context.connections) connection.detach()
      context.connections.clear()
      interceptor.detach()
      detachOrder?.()
      restoreFastProperties(broker)
    },
  }
}

/** Drops held messages when the broker is closed. */
function closeWithBroker(context: BrokerContext): () => void {
  const close = (): void => context.guard.close('discard')
  context.broker.on('closed', close)
  return () => void context.broker.off('closed', close)
}
