import type { KeyObject } from 'node:crypto'
import { policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { KnownOptions } from '../../src/core/option-names.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import {
  completeGatewaySettings,
  GATEWAY_OPTIONS,
  type GatewayOptions,
  type GatewaySettings,
} from '../../src/gateway/gateway-options.ts'
import { readSeed } from './nkeys.ts'

/** A client that is connected, and has sent nothing yet: servers send first. */
export interface NatsConnectingClient {
  readonly peer: ClientPeer
}

/** A client that has sent its CONNECT. Until the server has accepted it, its identity is a claim. */
export interface NatsGatewayClient extends NatsConnectingClient {
  /** Name of the connection, which any client may choose. */
  readonly name: string | undefined
  /** Username, or public key of an nkey or JWT. */
  readonly user: string | undefined
  /** Claims of a JWT, which the server verifies. */
  readonly jwt: Readonly<Record<string, unknown>> | undefined
  /** Language and version of the client. */
  readonly lang: string | undefined
  readonly version: string | undefined
}

/** Options of `natsGateway`; see also {@link GatewayOptions}. The longest hold is 60,000 ms by default. */
export interface NatsGatewayOptions extends GatewayOptions<NatsConnectingClient, NatsGatewayClient> {
  /** Subjects, or prefixes such as `$SYS.>`, that no limit applies to. Default: `$SYS.>` and `$JS.API.>`. */
  readonly exempt?: readonly string[] | undefined
  /** Prefixes of the inboxes of clients. Replies to them are never limited or held. Default: `_INBOX`. */
  readonly inboxPrefixes?: readonly string[] | undefined
  /** Maximum payload with headers, in bytes, if it is below that of the server. Default: that of the server. */
  readonly maxPayloadBytes?: number | undefined
  /**
   * Seed of an nkey (`S…`) with which the gateway signs in to servers as a trusted proxy (ADR-55, nats-server 2.12). Other
   * servers ignore it. Default: none.
   */
  readonly proxySeed?: string | undefined
  /** Addresses (`host:port`) of gateways that clients may connect to instead. Default: none. */
  readonly advertise?: readonly string[] | undefined
}

const OPTIONS: KnownOptions<NatsGatewayOptions> = {
  ...GATEWAY_OPTIONS,
  exempt: true,
  inboxPrefixes: true,
  maxPayloadBytes: true,
  proxySeed: true,
  advertise: true,
}

/** Options with their defaults applied. */
export interface NatsGatewaySettings extends GatewaySettings {
  readonly connectUpstream: NatsGatewayOptions['connectUpstream']
  readonly identify: NatsGatewayOptions['identify']
  readonly exempt: readonly string[]
  readonly inboxPrefixes: readonly string[]
  readonly maxPayloadBytes: number
  readonly advertise: readonly string[] | undefined
  readonly proxyKey: KeyObject | undefined
}

/** Throws PolicyError for an unknown option or a value out of range. */
export function completeSettings(options: NatsGatewayOptions): NatsGatewaySettings {
  const settings = completeGatewaySettings(options, OPTIONS)
  for (const name of ['exempt', 'inboxPrefixes', 'advertise'] as const) {
    if (options[name] === undefined || Array.isArray(options[name])) continue
    throw policyError(name, 'not a list', 'write a list of texts')
  }
  const { proxySeed } = options
  const proxyKey = proxySeed === undefined ? undefined : readSeed(proxySeed)
  // Never show the seed.
  if (proxySeed !== undefined && proxyKey === undefined)
    throw policyError('proxySeed', 'not the seed of an nkey', 'make one with nk -gen user: it begins with S')
  return {
    ...settings,
    connectUpstream: options.connectUpstream,
    identify: options.identify,
    exempt: options.exempt ?? ['$SYS.>', '$JS.API.>'],
    inboxPrefixes: options.inboxPrefixes ?? ['_INBOX'],
    maxPayloadBytes: options.maxPayloadBytes ?? MAX_SIZES.natsPayloadBytes,
    advertise: options.advertise,
    proxyKey,
  }
}
