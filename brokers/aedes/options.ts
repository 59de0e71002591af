import type { Client, ConnectPacket } from 'aedes'
import { policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.ts'
import { GUARD_OPTIONS, GUARD_REMEDIES, type GuardOptions } from '../../src/guard/guard.ts'
import type { TrustProxy } from './trusted-proxies.ts'

/** What the application knows of a sender beyond what the broker does. */
export type Identify = (client: Client, connect: ConnectPacket | undefined) => Partial<Sender>

/** How `limitBroker` behaves; see also {@link GuardOptions}. */
export interface LimitBrokerOptions extends Omit<GuardOptions, 'holds'> {
  /** Most messages held for one client. Default: 16,384, the smallest packets of one socket chunk. */
  readonly maxHeldPerSender?: number | undefined
  /** Messages of one client that rules queue, at which it is read no further until half of them have gone. Default: 1,000. */
  readonly maxQueuedPerSender?: number | undefined
  /** Proxies whose X-Forwarded-For counts on WebSocket; those of `trustProxies`. Default: none. */
  readonly trust?: TrustProxy | undefined
  /** Adds to a sender, as its roles, tier or device. Asked once for each connection; what it throws is logged. */
  readonly identify?: Identify | undefined
  /**
   * For how long a client is not read after refusals came thick (see `dropGateAfter`): dropping alone does not
   * protect a broker. Never longer than the rule needs to be whole again. 0 turns it off. Default: 250.
   */
  readonly dropGateMs?: number | undefined
  /** Refusals (one for each 8 KiB of payload begun) within a second that shut the gate. Default: 10. */
  readonly dropGateAfter?: number | undefined
  /** Disconnects a client after so many refusals within `disconnectWithinMs`. Default: never; 10,000. */
  readonly disconnectAfter?: number | undefined
  readonly disconnectWithinMs?: number | undefined
  /**
   * Decides QoS 0 publishes of a client that is being refused before aedes parses them. Everything of topicgate
   * sees them as ever; aedes and your own `authorizePublish` do not. Default: true while you have no such hook;
   * `true` says that it need not see refused ones, `false` turns it off. Also off with `disconnectAfter`.
   */
  readonly skimRefused?: boolean | undefined
  /** The CONNACK return code of a refused connect, 2 to 5. Default: 3, server unavailable. */
  readonly refusedReturnCode?: 2 | 3 | 4 | 5 | undefined
  /** The longest a throttled connect waits for its CONNACK; clients give up. Default: 10,000. */
  readonly maxConnectHoldMs?: number | undefined
  /**
   * Unsent bytes of a subscriber that does not read, beyond which nothing more is written for it: what comes at QoS 0, or to a
   * clean session, is dropped and counted as `frozen`; the rest waits in its session's queue. Once it has not read for
   * 100 ms, deliveries to others no longer wait for it. Default: 262,144; none where aedes has a `drainTimeout` of 0 or of
   * less than a second; 0 for no bound.
   */
  readonly maxUnsentBytes?: number | undefined
  /**
   * The largest packet a client may send, in bytes; a larger one closes its connection as soon as its length is read. A
   * CONNECT may have 131,072 at the most. Default: 16,777,216; 0 for no bound but MQTT's own of 256 MB.
   */
  readonly maxPacketBytes?: number | undefined
  /** The most filters of a SUBSCRIBE or UNSUBSCRIBE; more close the connection. Default: 1,000; 0 for no bound. */
  readonly maxFiltersPerPacket?: number | undefined
  /**
   * Asks the gate about every delivery. Default: while a rule is `on: deliver`, looked up when the limiter is attached
   * and at each new policy; set it where middleware of yours decides about deliveries.
   */
  readonly limitDeliveries?: boolean | undefined
  /**
   * A topic on which a refused client is told why, as MQTT 3.1.1 has no word for it: `$topicgate/{client}/limits`. Clients
   * that subscribe to theirs get a small JSON at most once a second. Nobody else can read it, and nobody can publish
   * there. Default: none.
   */
  readonly notices?: string | undefined
  /** Keeps clients from publishing to `$SYS/`, also where a hook of yours takes the place of aedes' own. Default: true. */
  readonly guardSys?: boolean | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS
const OPTIONS: OptionNames<LimitBrokerOptions> = {
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
  guardSys: true,
}

/** The options with their defaults. */
export interface Settings {
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
  readonly guardSys: boolean
  readonly maxHeldPerSender: number
  readonly maxQueuedPerSender: number
}

/** The smallest packets one 80 KiB socket chunk can hold: a first burst is never cut short by the count alone. */
const CHUNK_MESSAGES = 16_384

/** Throws PolicyError for a number that cannot be meant. */
export function completeSettings(options: LimitBrokerOptions, broker?: object): Settings {
  checkOptionNames(options, OPTIONS, '', GUARD_REMEDIES)
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || value >= 0) continue
    throw policyError(name, `${value} is not a number from 0`, `leave ${name} out for its default`)
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
    guardSys: options.guardSys ?? true,
    maxHeldPerSender: options.maxHeldPerSender ?? CHUNK_MESSAGES,
    maxQueuedPerSender: options.maxQueuedPerSender ?? MAX_SIZES.heldPerSender,
  }
}

/** A `drainTimeout` of aedes below this is a choice of the application's: to wait, or to close frozen connections soon. */
const OWN_DRAIN_MS = 1_000

function unsentBytesOf(broker: object | undefined): number {
  const { opts } = (broker ?? {}) as { readonly opts?: { readonly drainTimeout?: unknown } }
  const drainMs = opts?.drainTimeout
  return typeof drainMs === 'number' && drainMs < OWN_DRAIN_MS ? 0 : MAX_SIZES.unsentBytes
}
