import type { Logger } from '../../src/core/logger.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { ConnectRules } from '../../src/gateway/connect-rules.ts'
import type { PauseStats } from '../../src/gateway/packet-pipe.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { completeSettings, type MqttGatewayOptions, type MqttGatewaySettings } from './options.ts'
import { PACKET } from './packet-types.ts'

/** Results since the gateway was created. */
export interface GatewayCounters {
  /** Acknowledged and discarded, or discarded at QoS 0. */
  dropped: number
  /** Refused with a reason code, which MQTT 5 has. */
  rejected: number
  degraded: number
  redirected: number
  /** Clients disconnected by the policy. */
  disconnected: number
  connectsRefused: number
  /** Refused by the broker. */
  connectsFailed: number
  subscriptionsRefused: number
  /** Wills removed from a CONNECT. */
  willsRefused: number
  deliveriesRefused: number
  /** Malformed packets, and packets larger than `maxPacketBytes`; both close their connection. */
  malformed: number
  oversized: number
  /** Refused with an outcome that the gateway cannot enact, and dropped instead. */
  unsupported: number
  /** Connections to the broker. */
  upstreamConnects: number
  upstreamConnectsFailed: number
  /** Bytes of closed connections, from clients and from the broker. */
  bytesFromClients: number
  bytesFromBroker: number
}

/** State shared by all connections of a gateway. */
export class GatewayContext {
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: MqttGatewaySettings
  readonly logger: Logger
  readonly refusals: RefusalLog
  readonly connects: ConnectRules
  /** Sockets that are not read, because the other side is slower or a message is held. */
  readonly clientPauses: PauseStats = { paused: 0, pausedMs: 0 }
  readonly brokerPauses: PauseStats = { paused: 0, pausedMs: 0 }
  /** Answers of the gateway to clients, and rewritten packets, by packet type. The key of an answer adds its code. */
  readonly answers = new Map<number, number>()
  readonly rewrites = new Map<number, number>()
  readonly counters: GatewayCounters = {
    dropped: 0,
    rejected: 0,
    degraded: 0,
    redirected: 0,
    disconnected: 0,
    connectsRefused: 0,
    connectsFailed: 0,
    subscriptionsRefused: 0,
    willsRefused: 0,
    deliveriesRefused: 0,
    malformed: 0,
    oversized: 0,
    unsupported: 0,
    upstreamConnects: 0,
    upstreamConnectsFailed: 0,
    bytesFromClients: 0,
    bytesFromBroker: 0,
  }
  /** True if a rule can refuse deliveries; otherwise the gate is not asked. */
  limitsDeliveries = false
  readonly #updateLimits = (): void => {
    this.limitsDeliveries = this.gate.outcomes('deliver').size > 0
  }

  constructor(gate: Gate, options: MqttGatewayOptions) {
    this.gate = gate
    this.settings = completeSettings(options)
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      logger: this.logger,
    })
    this.refusals = new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message))
    this.connects = new ConnectRules(gate, this.guard, 'mqtt', this.settings.maxConnectHoldMs)
    this.#updateLimits()
    gate.on('policy', this.#updateLimits)
  }

  countAnswer(type: number, code: number): void {
    const key = (type << 8) | code
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1)
  }

  countRewrite(type: number): void {
    this.rewrites.set(type, (this.rewrites.get(type) ?? 0) + 1)
  }

  close(): void {
    this.gate.off('policy', this.#updateLimits)
    this.guard.close()
  }
}

const NAMES = new Map<number, string>(Object.entries(PACKET).map(([name, type]) => [type, name]))

/** Returns the name of a packet type, such as `puback`. */
export function nameOfPacketType(type: number): string {
  return NAMES.get(type) ?? String(type)
}
