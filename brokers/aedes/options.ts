import type { Aedes, Client, ConnectPacket } from 'aedes'
import type { TrustProxy } from '../../src/broker-support/trusted-proxies.ts'
import { policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import { GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from '../../src/guard/guard.ts'
import { brokerInternals } from './aedes-internals.ts'

/** Returns what the application knows about a sender beyond the broker's own data. */
export type Identify = (client: Client, connect: ConnectPacket | undefined) => Partial<Sender>

/** Options of `limitBroker`; see also {@link GuardOptions}. */
export interface LimitBrokerOptions extends Omit<GuardOptions, 'holds'> {
  /** Maximum messages held for one client. Default: 16,384, the smallest packets of one socket chunk. */
  readonly maxHeldPerSender?: number | undefined
  /** Messages of one client in rule queues at which reading stops until half of them have left. Default: 1,000. */
  readonly maxQueuedPerSender?: number | undefined
  /** Proxies whose X-Forwarded-For is believed on WebSocket; see `trustProxies`. Default: none. */
  readonly trust?: TrustProxy | undefined
  /** Adds fields to a sender, such as its roles, tier or device. Called once per connection; errors are logged. */
  readonly identify?: Identify | undefined
  /**
   * Pause in reading a client after frequent refusals (see `dropGateAfter`). Why: dropping alone does not protect a
   * broker. Never longer than the rule needs to recover. 0 disables it. Default: 250.
   */
  readonly dropGateMs?: number | undefined
  /** Refusals within a second that pause reading, counted once per started 8 KiB of payload. Default: 10. */
  readonly dropGateAfter?: number | undefined
  /** Disconnects a client after so many refusals within `disconnectWithinMs`. Default: never; 10,000. */
  readonly disconnectAfter?: number | undefined
  readonly disconnectWithinMs?: number | undefined
  /**
   * Decides QoS 0 publishes of a client that is being refused before aedes parses them. topicgate handles them as
   * usual; aedes and your own `authorizePublish` do not see refused ones. Default: true while you have no such hook.
   * `true` enables it with a hook of your own, `false` disables it. Also disabled by `disconnectAfter`.
   */
  readonly skimRefused?: boolean | undefined
  /** CONNACK return code of a refused connect, 2 to 5. Default: 3, server unavailable. */
  readonly refusedReturnCode?: 2 | 3 | 4 | 5 | undefined
  /** Maximum wait of a throttled connect for its CONNACK, as clients stop waiting. Default: 10,000. */
  readonly maxConnectHoldMs?: number | undefined
  /**
   * Unsent bytes of a subscriber that does not read, above which no more is written for it. Then QoS 0 messages and
   * those of a clean session are dropped and counted in `stats().frozen`; the rest waits in the session's queue. After 100 ms
   * without reading, deliveries to others no longer wait for it. Default: 262,144; unlimited if aedes has a
   * `drainTimeout` of 0 or of less than a second. 0 means unlimited.
   */
  readonly maxUnsentBytes?: number | undefined
  /**
   * Maximum packet size of a client, in bytes; a larger packet closes its connection as soon as its length is read. A
   * CONNECT may have at most 131,072. Default: 16,777,216; 0 for no limit but MQTT's own of 256 MB.
   */
  readonly maxPacketBytes?: number | undefined
  /** Maximum filters of a SUBSCRIBE or UNSUBSCRIBE; more close the connection. Default: 1,000; 0 for no limit. */
  readonly maxFiltersPerPacket?: number | undefined
  /**
   * Asks the gate about every delivery. Default: true if a rule is `on: deliver`, checked when the limiter is attached
   * and at each new policy. Set it if your own middleware decides about deliveries.
   */
  readonly limitDeliveries?: boolean | undefined
  /**
   * Topic on which a refused client gets the reason, as MQTT 3.1.1 has no reason codes: `$topicgate/{client}/limits`. A
   * client subscribed to its own topic gets a small JSON at most once a second. No other client can read it, and no
   * client can publish there. Default: none.
   */
  readonly notices?: string | undefined
  /**
   * Acknowledges a publish of QoS 1 when the persistence has stored it for offline sessions and it was sent to
   * subscribers. Why: aedes acknowledges first, so a crash loses acknowledged messages. Set it with a persistence that
   * survives one. Default: false.
   */
  readonly acknowledgeStored?: boolean | undefined
  /** Prevents clients from publishing to `$SYS/`, even if your own hook replaces that of aedes. Default: true. */
  readonly guardSys?: boolean | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS
const OPTIONS: KnownOptions<LimitBrokerOptions> = {
  ...GUARD,
  maxQueuedPerSender: true,
  trust: true,
  identify: true,
  dropGateMs: true,
  dropGateAfter: true,
  disconnectAfter: true,
  disconnectWithinMs: true,
  skimRefused: true,
  refusedReturnCode: true,
  maxConnectHoldMs: true,
  maxUnsentBytes: true,
  maxPacketBytes: true,
  maxFiltersPerPacket: true,
  limitDeliveries: true,
  notices: true,
  acknowledgeStored: true,
  guardSys: true,
}

/** Options with their defaults applied. */
export interface LimitBrokerSettings {
  readonly trust: TrustProxy
  readonly identify: Identify | undefined
  readonly dropGateMs: number
  readonly dropGateAfter: number
  readonly disconnectAfter: number
  readonly skimRefused: boolean | undefined
  readonly disconnectWithinMs: number
  readonly refusedReturnCode: number
  readonly maxConnectHoldMs: number
  readonly maxUnsentBytes: number
  readonly maxPacketBytes: number
  readonly maxFiltersPerPacket: number
  readonly limitDeliveries: boolean | undefined
  readonly acknowledgeStored: boolean
  readonly guardSys: boolean
  readonly maxHeldPerSender: number
  readonly maxQueuedPerSender: number
}

/** The smallest packets that fit one 80 KiB socket chunk, so that the count alone never cuts a first burst short. */
const CHUNK_MESSAGES = 16_384

/** Throws PolicyError for a number out of range. */
export function completeSettings(options: LimitBrokerOptions, broker?: Aedes): LimitBrokerSettings {
  checkOptionNames(options, OPTIONS, '', RENAMED_GUARD_OPTIONS)
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || value >= 0) continue
    throw policyError(name, `${value} is not a number of at least 0`, `leave ${name} out for its default`)
  }
  return {
    trust: options.trust ?? (() => false),
    identify: options.identify,
    dropGateMs: options.dropGateMs ?? 250,
    dropGateAfter: options.dropGateAfter ?? 10,
    disconnectAfter: options.disconnectAfter ?? Number.POSITIVE_INFINITY,
    skimRefused: options.skimRefused,
    disconnectWithinMs: options.disconnectWithinMs ?? 10_000,
    refusedReturnCode: options.refusedReturnCode ?? 3,
    maxConnectHoldMs: options.maxConnectHoldMs ?? 10_000,
    maxUnsentBytes: (options.maxUnsentBytes ?? unsentBytesOf(broker)) || Number.POSITIVE_INFINITY,
    maxPacketBytes: (options.maxPacketBytes ?? MAX_SIZES.packetBytes) || Number.POSITIVE_INFINITY,
    maxFiltersPerPacket:
      (options.maxFiltersPerPacket ?? MAX_SIZES.filtersPerPacket) || Number.POSITIVE_INFINITY,
    limitDeliveries: options.limitDeliveries,
    acknowledgeStored: options.acknowledgeStored ?? false,
    guardSys: options.guardSys ?? true,
    maxHeldPerSender: options.maxHeldPerSender ?? CHUNK_MESSAGES,
    maxQueuedPerSender: options.maxQueuedPerSender ?? MAX_SIZES.heldPerSender,
  }
}

/** A smaller `drainTimeout` of aedes is a deliberate choice: to wait, or to close frozen connections early. */
const OWN_DRAIN_MS = 1_000

function unsentBytesOf(broker: Aedes | undefined): number {
  const drainMs = broker && brokerInternals(broker).opts?.drainTimeout
  return typeof drainMs === 'number' && drainMs < OWN_DRAIN_MS ? 0 : MAX_SIZES.unsentBytes
}
