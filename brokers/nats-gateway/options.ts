import type { Duplex } from 'node:stream'
import { policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { MaybePromise, Sender } from '../../src/core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from '../../src/guard/guard.ts'

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

/** Options of `natsGateway`; see also {@link GuardOptions}. The longest hold is 60,000 ms by default. */
export interface NatsGatewayOptions extends Omit<GuardOptions, 'holds'> {
  /** Opens a connection to the server for a client. Rejects if no server is available. */
  readonly connectUpstream: (client: NatsConnectingClient) => MaybePromise<Duplex>
  /** Adds fields to a sender, such as its roles, tier or device. Called once per connection; errors are logged. */
  readonly identify?: ((client: NatsGatewayClient) => Partial<Sender> | undefined) | undefined
  /** Subjects, or prefixes such as `$SYS.>`, that no limit applies to. Default: `$SYS.>` and `$JS.API.>`. */
  readonly exempt?: readonly string[] | undefined
  /** Prefixes of the inboxes of clients. Replies to them are never limited or held. Default: `_INBOX`. */
  readonly inboxPrefixes?: readonly string[] | undefined
  /** Maximum payload with headers, in bytes, if it is below that of the server. Default: that of the server. */
  readonly maxPayloadBytes?: number | undefined
  /** Addresses (`host:port`) of gateways that clients may connect to instead. Default: none. */
  readonly advertise?: readonly string[] | undefined
  /** Maximum wait of a throttled connect, as clients stop waiting. Default: 10,000. */
  readonly maxConnectHoldMs?: number | undefined
  /** Messages of one client in rule queues at which reading stops until half of them have left. Default: 1,000. */
  readonly maxQueuedPerSender?: number | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS
const OPTIONS: KnownOptions<NatsGatewayOptions> = {
  ...GUARD,
  connectUpstream: true,
  identify: true,
  exempt: true,
  inboxPrefixes: true,
  maxPayloadBytes: true,
  advertise: true,
  maxConnectHoldMs: true,
  maxQueuedPerSender: true,
}

/** Options with their defaults applied. */
export interface NatsGatewaySettings {
  readonly connectUpstream: NatsGatewayOptions['connectUpstream']
  readonly identify: NatsGatewayOptions['identify']
  readonly exempt: readonly string[]
  readonly inboxPrefixes: readonly string[]
  readonly maxPayloadBytes: number
  readonly advertise: readonly string[] | undefined
  readonly maxConnectHoldMs: number
  readonly maxQueuedPerSender: number
}

/** Throws PolicyError for an unknown option or a value out of range. */
export function completeSettings(options: NatsGatewayOptions): NatsGatewaySettings {
  checkOptionNames(options, OPTIONS, '', RENAMED_GUARD_OPTIONS)
  if (typeof options.connectUpstream !== 'function')
    throw policyError('connectUpstream', 'not a function', 'write () => net.connect(4222, "server")')
  for (const name of ['exempt', 'inboxPrefixes', 'advertise'] as const) {
    if (options[name] === undefined || Array.isArray(options[name])) continue
    throw policyError(name, 'not a list', 'write a list of texts')
  }
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || (Number.isSafeInteger(value) && value > 0)) continue
    throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
  }
  return {
    connectUpstream: options.connectUpstream,
    identify: options.identify,
    exempt: options.exempt ?? ['$SYS.>', '$JS.API.>'],
    inboxPrefixes: options.inboxPrefixes ?? ['_INBOX'],
    maxPayloadBytes: options.maxPayloadBytes ?? MAX_SIZES.natsPayloadBytes,
    advertise: options.advertise,
    maxConnectHoldMs: options.maxConnectHoldMs ?? 10_000,
    maxQueuedPerSender: options.maxQueuedPerSender ?? MAX_SIZES.heldPerSender,
  }
}
