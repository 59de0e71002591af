import { policyError } from '../../src/core/errors.ts'
import type { KnownOptions } from '../../src/core/option-names.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import {
  completeGatewaySettings,
  GATEWAY_OPTIONS,
  type GatewayOptions,
  type GatewaySettings,
} from '../../src/gateway/gateway-options.ts'

/** A client that has sent its CONNECT. Until the broker has accepted it, its ids are claims. */
export interface GatewayClient {
  /** Empty if the client has sent none. */
  readonly clientId: string
  readonly username: string | undefined
  /** 3 for MQTT 3.1, 4 for 3.1.1, 5 for 5. */
  readonly version: number
  readonly peer: ClientPeer
}

/** Options of `mqttGateway`; see also {@link GatewayOptions}. */
export interface MqttGatewayOptions extends GatewayOptions<GatewayClient, GatewayClient> {
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
}

const OPTIONS: KnownOptions<MqttGatewayOptions> = {
  ...GATEWAY_OPTIONS,
  window: true,
  wills: true,
  maxPacketBytes: true,
  advertise: true,
  usernameFrom: true,
}

const WILLS = ['check', 'strip', 'pass'] as const

/** Options with their defaults applied. */
export interface MqttGatewaySettings extends GatewaySettings {
  readonly connectUpstream: MqttGatewayOptions['connectUpstream']
  readonly identify: MqttGatewayOptions['identify']
  readonly window: number
  readonly wills: (typeof WILLS)[number]
  readonly maxPacketBytes: number
  readonly advertise: boolean
  readonly usernameFrom: 'cn' | undefined
}

/** Throws PolicyError for an unknown option or a value out of range. */
export function completeSettings(options: MqttGatewayOptions): MqttGatewaySettings {
  const settings = completeGatewaySettings(options, OPTIONS)
  const { connectUpstream, identify, wills = 'check', usernameFrom } = options
  if (!WILLS.includes(wills))
    throw policyError('wills', `"${String(wills)}" is not a way to handle wills`, `use ${WILLS.join(', ')}`)
  if (usernameFrom !== undefined && usernameFrom !== 'cn')
    throw policyError('usernameFrom', `"${String(usernameFrom)}" is not a source of usernames`, 'write cn')
  return {
    ...settings,
    connectUpstream,
    identify,
    window: options.window ?? 20,
    wills,
    maxPacketBytes: options.maxPacketBytes ?? 1_048_576,
    advertise: options.advertise ?? false,
    usernameFrom,
  }
}
