import type { Gate } from '../../src/gate/gate.ts'
import { findUnsupported } from '../../src/gateway/capabilities.ts'
import { createGateway, type Gateway, type GatewayStats } from '../../src/gateway/gateway.ts'
import { MqttGatewayConnection } from './gateway-connection.ts'
import { MqttGatewayContext, nameOfPacketType } from './gateway-context.ts'
import type { MqttGatewayOptions } from './options.ts'

/** A number of packets by type, such as `puback`. */
export interface PacketCount {
  readonly packet: string
  readonly count: number
}

export interface MqttGatewayStats extends GatewayStats {
  /** Wills removed from a CONNECT. */
  readonly willsRefused: number
  /** Packets that the gateway sent to clients itself; `code` is the reason code or return code. */
  readonly answers: readonly (PacketCount & { readonly code: number })[]
  readonly rewrites: readonly PacketCount[]
}

/** Gateway between MQTT clients and a broker. */
export type MqttGateway = Gateway<MqttGatewayStats>

/**
 * Creates a gateway in front of an MQTT broker (MQTT 3.1, 3.1.1 and 5). It limits connects, publishes, wills,
 * subscriptions and deliveries, and forwards all that passes as it came. Each client gets a connection of its own to the
 * broker, once its CONNECT has passed the rules. Throws UnsupportedError if a rule uses an outcome that the gateway
 * cannot enact, such as `retry`. A policy loaded later with such a rule logs a warning, and its messages are dropped.
 */
export function mqttGateway(gate: Gate, options: MqttGatewayOptions): MqttGateway {
  return createGateway(gate, {
    findUnsupported: () => findUnsupported(gate, 'the MQTT gateway'),
    createContext: () => new MqttGatewayContext(gate, options),
    createConnection: (context, stream, peer, onClosed) =>
      new MqttGatewayConnection(context, stream, peer, onClosed),
    completeStats: (stats, { willsRefused, answers, rewrites }) => ({
      ...stats,
      willsRefused,
      answers: Array.from(answers, ([key, count]) => ({
        packet: nameOfPacketType(key >> 8),
        code: key & 0xff,
        count,
      })),
      rewrites: Array.from(rewrites, ([type, count]) => ({ packet: nameOfPacketType(type), count })),
    }),
  })
}
