import type { Logger } from '../../src/core/logger.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { ConnectRules } from '../../src/gateway/connect-rules.ts'
import type { PauseStats } from '../../src/gateway/packet-pipe.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { ExemptSubjects } from './exempt-subjects.ts'
import { completeSettings, type NatsGatewayOptions, type NatsGatewaySettings } from './options.ts'

/** Results since the gateway was created. */
export interface GatewayCounters {
  /** Discarded without an answer. */
  dropped: number
  /** Discarded, with an error to the reply subject. */
  rejected: number
  degraded: number
  redirected: number
  /** Clients disconnected by the policy. */
  disconnected: number
  connectsRefused: number
  subscriptionsRefused: number
  deliveriesRefused: number
  /** Malformed lines, and lines and payloads that are too large; both close their connection. */
  malformed: number
  oversized: number
  /** Refused with an outcome that the gateway cannot enact, and dropped instead. */
  unsupported: number
  /** Connections to the server. */
  upstreamConnects: number
  upstreamConnectsFailed: number
  /** Bytes of closed connections, from clients and from the server. */
  bytesFromClients: number
  bytesFromServer: number
}

/** State shared by all connections of a gateway. */
export class GatewayContext {
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: NatsGatewaySettings
  readonly exempt: ExemptSubjects
  readonly logger: Logger
  readonly refusals: RefusalLog
  readonly connects: ConnectRules
  /** Sockets that are not read, because the other side is slower or a message is held. */
  readonly clientPauses: PauseStats = { paused: 0, pausedMs: 0 }
  readonly serverPauses: PauseStats = { paused: 0, pausedMs: 0 }
  readonly counters: GatewayCounters = {
    dropped: 0,
    rejected: 0,
    degraded: 0,
    redirected: 0,
    disconnected: 0,
    connectsRefused: 0,
    subscriptionsRefused: 0,
    deliveriesRefused: 0,
    malformed: 0,
    oversized: 0,
    unsupported: 0,
    upstreamConnects: 0,
    upstreamConnectsFailed: 0,
    bytesFromClients: 0,
    bytesFromServer: 0,
  }
  /** True if a rule can refuse subscriptions or deliveries; otherwise the gate is not asked. */
  limitsSubscriptions = false
  limitsDeliveries = false
  readonly #updateLimits = (): void => {
    this.limitsSubscriptions = this.gate.outcomes('subscribe').size > 0
    this.limitsDeliveries = this.gate.outcomes('deliver').size > 0
  }

  constructor(gate: Gate, options: NatsGatewayOptions) {
    this.gate = gate
    this.settings = completeSettings(options)
    this.exempt = new ExemptSubjects(this.settings.exempt, this.settings.inboxPrefixes)
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      maxHoldMs: 60_000,
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      logger: this.logger,
    })
    this.refusals = new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message))
    this.connects = new ConnectRules(gate, this.guard, 'nats', this.settings.maxConnectHoldMs)
    this.#updateLimits()
    gate.on('policy', this.#updateLimits)
  }

  close(): void {
    this.gate.off('policy', this.#updateLimits)
    this.guard.close()
  }
}
