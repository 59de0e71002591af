import type { Logger } from '../core/logger.ts'
import type { Dialect } from '../core/message.ts'
import { pickOptions } from '../core/option-names.ts'
import { ThrottledLog } from '../core/throttled-log.ts'
import type { Gate } from '../gate/gate.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../guard/guard.ts'
import { RefusalLog } from '../guard/refusal-log.ts'
import { ConnectRules } from './connect-rules.ts'
import type { GatewaySettings } from './gateway-options.ts'
import type { PauseStats } from './packet-pipe.ts'

/** Results since a gateway was created. */
export interface GatewayCounters {
  /** Discarded without a refusal that the client can see. */
  dropped: number
  /** Refused with an answer: a reason code of MQTT 5, or an error to the reply subject of NATS. */
  rejected: number
  degraded: number
  redirected: number
  /** Clients disconnected by the policy. */
  disconnected: number
  connectsRefused: number
  /** Refused by the broker. */
  connectsFailed: number
  subscriptionsRefused: number
  deliveriesRefused: number
  /** Malformed packets, and packets that are too large; both close their connection. */
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
export class GatewayContext<Settings extends GatewaySettings = GatewaySettings> {
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: Settings
  readonly logger: Logger
  readonly refusals: RefusalLog
  readonly failedDials: ThrottledLog
  readonly connects: ConnectRules
  /** Sockets that are not read, because the other side is slower or a message is held. */
  readonly clientPauses: PauseStats = { paused: 0, pausedMs: 0 }
  readonly brokerPauses: PauseStats = { paused: 0, pausedMs: 0 }
  readonly counters: GatewayCounters = {
    dropped: 0,
    rejected: 0,
    degraded: 0,
    redirected: 0,
    disconnected: 0,
    connectsRefused: 0,
    connectsFailed: 0,
    subscriptionsRefused: 0,
    deliveriesRefused: 0,
    malformed: 0,
    oversized: 0,
    unsupported: 0,
    upstreamConnects: 0,
    upstreamConnectsFailed: 0,
    bytesFromClients: 0,
    bytesFromBroker: 0,
  }
  /** True if a rule can refuse subscriptions or deliveries; otherwise the gate need not be asked. */
  limitsSubscriptions = false
  limitsDeliveries = false
  readonly #updateLimits = (): void => {
    this.limitsSubscriptions = this.gate.outcomes('subscribe').size > 0
    this.limitsDeliveries = this.gate.outcomes('deliver').size > 0
  }

  constructor(gate: Gate, protocol: Dialect, settings: Settings, options: GuardOptions) {
    this.gate = gate
    this.settings = settings
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      ...pickOptions(options, GUARD_OPTIONS),
      holds: 'all',
      logger: this.logger,
    })
    this.refusals = new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message))
    this.failedDials = new ThrottledLog(this.guard.clock, this.logger)
    this.connects = new ConnectRules(gate, this.guard, protocol, settings.maxConnectHoldMs)
    this.#updateLimits()
    gate.on('policy', this.#updateLimits)
  }

  close(): void {
    this.gate.off('policy', this.#updateLimits)
    this.guard.close()
  }
}
