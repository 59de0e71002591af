import { checkWithin, policyError } from '../../src/core/errors.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.ts'
import { parseDuration } from '../../src/core/units.ts'
import { GUARD_OPTIONS, GUARD_REMEDIES, type GuardOptions } from '../../src/guard/guard.ts'
import { compileRedirect, type RedirectPlan } from '../../src/outcomes/redirect.ts'
import type { NatsPublishTarget } from './client.ts'
import type { MakeHeaders } from './headers.ts'
import type { Identify } from './sender-cache.ts'

/** How `limitNats` behaves; see also {@link GuardOptions}. */
export interface LimitNatsOptions extends Omit<GuardOptions, 'holds' | 'overflow'> {
  /**
   * Tells who sent a message, for limits per client, user, device and so on. Default: each subject is a sender of its
   * own. Headers and payloads can be forged; subject tokens under publish permissions cannot.
   */
  readonly identify?: Identify | undefined
  /** `headers` of the client in use: without it nothing that is sent carries any. */
  readonly headers?: MakeHeaders | undefined
  /** The connection for what JetStream's messages are redirected to, and for dead letters. */
  readonly connection?: NatsPublishTarget | undefined
  /** Where JetStream messages go that are given up, as `dead.{topic}`; places as in a redirect. Default: nowhere. */
  readonly deadLetter?: string | undefined
  /**
   * Whether a stream must have stored what a JetStream message is redirected to, or its dead letter, before the message
   * is answered; else it is sent back. `false` where no stream takes these subjects. Default: true.
   */
  readonly confirm?: boolean | undefined
  /** How long a stream has for that, but no more than half of the time for an answer. Default: 2,000. */
  readonly confirmTimeoutMs?: number | undefined
  /**
   * Who acknowledges JetStream messages: `auto` does when the handler has returned or its promise is fulfilled, unless
   * it answered itself; `manual` leaves it to the handler. Default: auto.
   */
  readonly ack?: 'auto' | 'manual' | undefined
  /** What becomes of a JetStream message whose handler fails: delivered again, or given up. Default: nak. */
  readonly onError?: 'nak' | 'term' | undefined
  /**
   * Handlers of one subscription or consumer at work at once, those that return promises; what comes meanwhile waits for
   * one to be done, and what finds no room there is dropped, or a request told to come again. Of JetStream consumers only
   * where it is given: they are then asked for no more than has room to wait. Default: 10,000, on JetStream their
   * `max_ack_pending`.
   */
  readonly maxInFlight?: number | undefined
  /**
   * Keeps a JetStream message alive while the promise of its handler is pending, for so long at the most: a text as `5m`, or
   * milliseconds. Default: off, the server delivers it again after `ack_wait`.
   */
  readonly keepAlive?: { readonly upTo: string | number } | undefined
  /** How long after a failure a message is delivered again. Default: 1,000. */
  readonly errorDelayMs?: number | undefined
  /** Of consumers that do not say: how long the server waits for an answer. Default: 30,000. */
  readonly ackWaitMs?: number | undefined
  /** Deliveries after which a message is given up that may not pass; a consumer's own `max_deliver` is kept to. Default: 100. */
  readonly maxDeliver?: number | undefined
  /** Whether handlers and answers get the older `X-RateLimit-*` fields too. Default: false. */
  readonly legacyFields?: boolean | undefined
}

const { holds: _holds, overflow: _overflow, ...GUARD } = GUARD_OPTIONS
const OPTIONS: OptionNames<LimitNatsOptions> = {
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

/** The options with their defaults. */
export interface Settings {
  readonly headers: MakeHeaders | undefined
  readonly deadLetter: RedirectPlan | undefined
  readonly confirm: boolean
  readonly confirmTimeoutMs: number
  readonly ack: 'auto' | 'manual'
  readonly onError: 'nak' | 'term'
  readonly maxInFlight: number
  /** Then it holds for JetStream consumers, too. */
  readonly isInFlightGiven: boolean
  /** 0 where handlers are not kept alive. */
  readonly keepAliveMs: number
  readonly errorDelayMs: number
  readonly ackWaitMs: number
  readonly maxDeliver: number
  readonly legacyFields: boolean
}

/** Throws PolicyError for a number that cannot be meant, or a dead letter that nothing can be sent to. */
export function completeSettings(options: LimitNatsOptions): Settings {
  checkOptionNames(options, OPTIONS, '', GUARD_REMEDIES)
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
    isInFlightGiven: options.maxInFlight !== undefined,
    keepAliveMs: keepAliveOf(options.keepAlive),
    errorDelayMs: options.errorDelayMs ?? 1_000,
    ackWaitMs: options.ackWaitMs ?? 30_000,
    maxDeliver: options.maxDeliver ?? 100,
    legacyFields: options.legacyFields ?? false,
  }
}

function keepAliveOf(given: LimitNatsOptions['keepAlive']): number {
  if (given === undefined) return 0
  checkOptionNames(given, { upTo: true }, 'keepAlive')
  const { upTo } = given
  const ms = typeof upTo === 'number' ? upTo : checkWithin('keepAlive.upTo', () => parseDuration(upTo))
  if (ms >= 1 && ms < Infinity) return ms
  throw policyError('keepAlive.upTo', `${upTo} is no duration`, "write it as '5m', or in milliseconds")
}
