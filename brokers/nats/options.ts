import { checkWithPathPrefix, policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import { parseDuration } from '../../src/core/units.ts'
import { GUARD_OPTIONS, type GuardOptions, RENAMED_GUARD_OPTIONS } from '../../src/guard/guard.ts'
import { compileRedirect, type RedirectPlan } from '../../src/outcomes/redirect.ts'
import type { NatsPublishTarget } from './client-types.ts'
import type { HeadersFactory } from './headers.ts'
import type { Identify } from './message-sender-cache.ts'

/** Options of `limitNats`; see also {@link GuardOptions}. */
export interface LimitNatsOptions extends Omit<GuardOptions, 'holds' | 'overflow'> {
  /**
   * Returns the sender of a message, for limits per client, user, device and so on. Default: each subject is a sender.
   * Headers and payloads can be forged; subject tokens protected by publish permissions cannot.
   */
  readonly identify?: Identify | undefined
  /** `headers` of the client in use. Without it, sent messages have no headers. */
  readonly headers?: HeadersFactory | undefined
  /** Connection for redirected JetStream messages and dead letters. */
  readonly connection?: NatsPublishTarget | undefined
  /** Subject for terminated JetStream messages, such as `dead.{topic}`, with the placeholders of a redirect. Default: none. */
  readonly deadLetter?: string | undefined
  /**
   * Waits until a stream has stored the redirected copy or dead letter of a JetStream message before answering the
   * message; otherwise the message is sent back. Use `false` if no stream covers these subjects. Default: true.
   */
  readonly confirm?: boolean | undefined
  /** Longest wait for that confirmation, at most half of the ack wait. Default: 2,000. */
  readonly confirmTimeoutMs?: number | undefined
  /**
   * `auto` acknowledges a JetStream message when its handler returns or its promise is fulfilled, unless the handler
   * answered it. `manual` leaves it to the handler. Default: auto.
   */
  readonly ack?: 'auto' | 'manual' | undefined
  /** Answer for a JetStream message whose handler fails: delivered again, or terminated. Default: nak. */
  readonly onError?: 'nak' | 'term' | undefined
  /**
   * Most pending handlers (those that return promises) of one subscription or consumer. Further messages wait; without
   * room to wait they are dropped, and requests get a retry time. For JetStream consumers it applies only if set, and
   * pulls then ask only for as many messages as have room. Default: 10,000, on JetStream `max_ack_pending`.
   */
  readonly maxInFlight?: number | undefined
  /**
   * Keeps a JetStream message alive while its handler's promise is pending, for at most this time: a text such as `5m`,
   * or milliseconds. Default: off; the server delivers the message again after `ack_wait`.
   */
  readonly keepAlive?: { readonly upTo: string | number } | undefined
  /** Delay before a message is delivered again after a failure. Default: 1,000. */
  readonly errorDelayMs?: number | undefined
  /** Ack wait of consumers whose configuration is not available. Default: 30,000. */
  readonly ackWaitMs?: number | undefined
  /** Most deliveries of a message that may not pass before it is terminated; `max_deliver` also applies. Default: 100. */
  readonly maxDeliver?: number | undefined
  /** Adds the older `X-RateLimit-*` fields for handlers and answers. Default: false. */
  readonly legacyFields?: boolean | undefined
}

const { holds: _holds, overflow: _overflow, ...GUARD } = GUARD_OPTIONS
const OPTIONS: KnownOptions<LimitNatsOptions> = {
  ...GUARD,
  identify: true,
  headers: true,
  connection: true,
  deadLetter: true,
  confirm: true,
  confirmTimeoutMs: true,
  ack: true,
  onError: true,
  maxInFlight: true,
  keepAlive: true,
  errorDelayMs: true,
  ackWaitMs: true,
  maxDeliver: true,
  legacyFields: true,
}

/** Options with their defaults. */
export interface NatsLimiterSettings {
  readonly headers: HeadersFactory | undefined
  readonly deadLetter: RedirectPlan | undefined
  readonly confirm: boolean
  readonly confirmTimeoutMs: number
  readonly ack: 'auto' | 'manual'
  readonly onError: 'nak' | 'term'
  readonly maxInFlight: number
  /** True if `maxInFlight` was set. It then also applies to JetStream consumers. */
  readonly isMaxInFlightSet: boolean
  /** 0 if handlers are not kept alive. */
  readonly keepAliveMs: number
  readonly errorDelayMs: number
  readonly ackWaitMs: number
  readonly maxDeliver: number
  readonly legacyFields: boolean
}

/** Returns the options with their defaults. Throws PolicyError for an invalid number or dead-letter subject. */
export function completeSettings(options: LimitNatsOptions): NatsLimiterSettings {
  checkOptionNames(options, OPTIONS, '', RENAMED_GUARD_OPTIONS)
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || value > 0) continue
    throw policyError(name, `${value} is not a number above 0`, `leave ${name} out for its default`)
  }
  if (options.deadLetter !== undefined && options.connection === undefined)
    throw policyError('deadLetter', 'there is no connection to send it over', 'give limitNats a `connection`')
  return {
    headers: options.headers,
    deadLetter:
      options.deadLetter === undefined
        ? undefined
        : compileRedirect({ to: options.deadLetter }, 'nats', 'deadLetter'),
    confirm: options.confirm ?? true,
    confirmTimeoutMs: options.confirmTimeoutMs ?? 2_000,
    ack: options.ack ?? 'auto',
    onError: options.onError ?? 'nak',
    maxInFlight: options.maxInFlight ?? MAX_SIZES.handlersInFlight,
    isMaxInFlightSet: options.maxInFlight !== undefined,
    keepAliveMs: parseKeepAlive(options.keepAlive),
    errorDelayMs: options.errorDelayMs ?? 1_000,
    ackWaitMs: options.ackWaitMs ?? 30_000,
    maxDeliver: options.maxDeliver ?? 100,
    legacyFields: options.legacyFields ?? false,
  }
}

function parseKeepAlive(keepAlive: LimitNatsOptions['keepAlive']): number {
  if (keepAlive === undefined) return 0
  checkOptionNames(keepAlive, { upTo: true }, 'keepAlive')
  const { upTo } = keepAlive
  const ms =
    typeof upTo === 'number' ? upTo : checkWithPathPrefix('keepAlive.upTo', () => parseDuration(upTo))
  if (ms >= 1 && ms < Infinity) return ms
  throw policyError('keepAlive.upTo', `${upTo} is not a duration`, "write it as '5m', or in milliseconds")
}
