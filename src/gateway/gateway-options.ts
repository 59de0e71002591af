import type { Duplex } from 'node:stream'
import { policyError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Sender } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from '../guard/guard.ts'

/** Options of all gateways. `Connecting` is a client whose broker is chosen, `Connected` one that has sent its CONNECT. */
export interface GatewayOptions<Connecting, Connected> extends Omit<GuardOptions, 'holds'> {
  /** Opens a connection to the broker for a client. Rejects if no broker is available. */
  readonly connectUpstream: (client: Connecting) => MaybePromise<Duplex>
  /** Adds fields to a sender, such as its roles, tier or device. Called once per connection; errors are logged. */
  readonly identify?: ((client: Connected) => Partial<Sender> | undefined) | undefined
  /** Maximum wait of a throttled connect, as clients stop waiting. Default: 10,000. */
  readonly maxConnectHoldMs?: number | undefined
  /** Messages of one client in rule queues at which reading stops until half of them have left. Default: 1,000. */
  readonly maxQueuedPerSender?: number | undefined
}

const { holds: _holds, ...GUARD } = GUARD_OPTIONS

/** Names of the options of all gateways. */
export const GATEWAY_OPTIONS: KnownOptions<GatewayOptions<never, never>> = {
  ...GUARD,
  connectUpstream: true,
  identify: true,
  maxConnectHoldMs: true,
  maxQueuedPerSender: true,
}

/** Options of all gateways with their defaults applied. */
export interface GatewaySettings {
  readonly maxConnectHoldMs: number
  readonly maxQueuedPerSender: number
}

/** Completes the options of all gateways. Throws PolicyError for an unknown option, or a number out of range. */
export function completeGatewaySettings<Options extends GatewayOptions<never, never>>(
  options: Options,
  known: KnownOptions<Options>,
): GatewaySettings {
  checkOptionNames(options, known, '', RENAMED_GUARD_OPTIONS)
  if (typeof options.connectUpstream !== 'function')
    throw policyError('connectUpstream', 'not a function', 'write () => net.connect(port, "broker")')
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || (Number.isSafeInteger(value) && value > 0)) continue
    throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
  }
  return {
    maxConnectHoldMs: options.maxConnectHoldMs ?? 10_000,
    maxQueuedPerSender: options.maxQueuedPerSender ?? MAX_SIZES.heldPerSender,
  }
}

/** Returns the fields that an application adds to the sender of a client. Logs an error of it, with the client's name. */
export function identifyClient<Client>(
  identify: ((client: Client) => Partial<Sender> | undefined) | undefined,
  client: Client,
  name: string | undefined,
  logger: Logger,
): Partial<Sender> | undefined {
  try {
    return identify?.(client)
  } catch (err) {
    logger.error({ err, client: name }, 'identify threw an error, the sender is used without its fields')
    return undefined
  }
}
