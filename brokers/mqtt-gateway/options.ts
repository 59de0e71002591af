import type { Duplex } from 'node:stream'
import { policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { MaybePromise, Sender } from '../../src/core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from '../../src/guard/guard.ts'

/** A client that has sent its CONNECT. Until the broker has accepted it, its ids are claims. */
export interface GatewayClient {
  /** Empty if the client has sent none. */
  readonly clientId: string
  readonly username: string | undefined
  /** 3 for MQTT 3.1, 4 for 3.1.1, 5 for 5. */
  readonly version: number
  readonly peer: ClientPeer
}

/** Options of `mqttGateway`; see also {@link GuardOptions}. */
export interface MqttGatewayOptions extends Omit<GuardOptions, 'holds'> {
  /** Opens a connection to the broker for a client. Rejects if no broker is available. */
  readonly connectUpstream: (client: GatewayClient) => MaybePromise<Duplex>
  /** Adds fields to a sender, such as its roles, tier or device. Called once per connection; errors are logged. */
  readonly identify?: ((client: GatewayClient) => Partial<Sender> | undefined) | undefined
  /**
   * Messages of QoS 1 and 2 of a client before MQTT 5 that the broker may have unacknowledged; the others wait. With
   * MQTT 5 the Receive Maximum of the broker applies. Default: 20, as in Mosquitto.
   */
  readonly window?: number | undefined
  /**
   * `check` decides a will as a publish when the client connects, and removes a refused one from the CONNECT. `strip`
   * removes all, `pass` none. Default: check.
   */
  readonly wills?: 'check' | 'strip' | 'pass' | undefined
  /** Maximum packet size in both directions, in bytes. A CONNECT may have at most 131,072. Default: 1,048,576. */
  readonly maxPacketBytes?: number | undefined
  /** Lets clients see the Server Reference of a broker, which leads them around the gateway. Default: false. */
  readonly advertise?: boolean | undefined
  /** Replaces the username by the common name of a valid client certificate. Default: none. */
  readonly usernameFrom?: 'cn' | undefined
  /** Maximum wait of a throttled connect for its CONNACK, as clients stop waiting. Default: 10,000. */
  readonly maxConnectHoldMs?: number | undefined
  /** Messages of one client in rule queues at which reading stops until half of them have left. Default: 1,000. */
  readonly maxQueuedPerSender?: number | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS
const OPTIONS: KnownOptions<MqttGatewayOptions> = {
  ...GUARD,
  connectUpstream: true,
  identify: true,
  window: true,
  wills: true,
  maxPacketBytes: true,
  advertise: true,
  usernameFrom: true,
  maxConnectHoldMs: true,
  maxQueuedPerSender: true,
}

const WILLS = ['check', 'strip', 'pass'] as const

/** Options with their defaults applied. */
export interface MqttGatewaySettings {
  readonly connectUpstream: MqttGatewayOptions['connectUpstream']
  readonly identify: MqttGatewayOptions['identify']
  readonly window: number
  readonly wills: (typeof WILLS)[number]
  readonly maxPacketBytes: number
  readonly advertise: boolean
  readonly usernameFrom: 'cn' | undefined
  readonly maxConnectHoldMs: number
  readonly maxQueuedPerSender: number
}

/** Throws PolicyError for an unknown option or a value out of range. */
export function completeSettings(options: MqttGatewayOptions): MqttGatewaySettings {
  checkOptionNames(options, OPTIONS, '', RENAMED_GUARD_OPTIONS)
  const { connectUpstream, wills = 'check', usernameFrom } = options
  if (typeof connectUpstream !== 'function')
    throw policyError('connectUpstream', 'not a function', 'write () => net.connect(1883, "broker")')
  if (!WILLS.includes(wills))
    throw policyError('wills', `"${String(wills)}" is not a way to handle wills`, `use ${WILLS.join(', ')}`)
  if (usernameFrom !== undefined && usernameFrom !== 'cn')
    throw policyError('usernameFrom', `"${String(usernameFrom)}" is not a source of usernames`, 'write cn')
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || (Number.isSafeInteger(value) && value > 0)) continue
    throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
  }
  return {
    connectUpstream,
    identify: options.identify,
    window: options.window ?? 20,
    wills,
    maxPacketBytes: options.maxPacketBytes ?? 1_048_576,
    advertise: options.advertise ?? false,
    usernameFrom,
    maxConnectHoldMs: options.maxConnectHoldMs ?? 10_000,
    maxQueuedPerSender: options.maxQueuedPerSender ?? MAX_SIZES.heldPerSender,
  }
}
