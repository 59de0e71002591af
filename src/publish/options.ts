import { assertSupported, describeUnsupported } from '../broker-support/unsupported-outcomes.ts'
import { limit } from '../chain/rules/create-limit-middleware.ts'
import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect, Sender } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { Gate } from '../gate/gate.ts'
import type { Overflow } from './publish-queue.ts'

/** Options of a publisher's queue. */
export interface PublisherOptions {
  /** Most messages that wait. Default: 10,000. */
  readonly maxMessages?: number | undefined
  /** Most bytes that wait, in payloads and topics. Default: 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Longest wait before a message is dropped. Does not apply to `latest` messages. Default: no limit. */
  readonly maxAgeMs?: number | undefined
  /** Message to drop if the queue is full: the `newest` or the `oldest` of the lowest priority. Default: newest. */
  readonly overflow?: Overflow | undefined
  /** Number of times a message is sent again after the server refused it for its rate or quota. Default: 5. */
  readonly retries?: number | undefined
  /** Sender of the messages, for rules by client, user or device. */
  readonly sender?: Sender | undefined
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
}

export type PublisherSettings = Required<Omit<PublisherOptions, 'sender' | 'clock' | 'logger'>>

export const PUBLISHER_OPTIONS: KnownOptions<PublisherOptions> = {
  maxMessages: true,
  maxBytes: true,
  maxAgeMs: true,
  overflow: true,
  retries: true,
  sender: true,
  clock: true,
  logger: true,
}

/** Returns the options with their defaults. Throws PolicyError for an invalid number. */
export function completeOptions(options: PublisherOptions): PublisherSettings {
  const { maxAgeMs = Infinity, overflow = 'newest', retries = 5 } = options
  if (!(maxAgeMs > 0))
    throw policyError('maxAgeMs', `${maxAgeMs} is not above 0`, 'leave it out for no limit')
  if (overflow !== 'newest' && overflow !== 'oldest')
    throw policyError('overflow', `"${String(overflow)}" is not one of them`, 'use one of newest, oldest')
  if (!(Number.isSafeInteger(retries) && retries >= 0))
    throw policyError('retries', `${retries} is not a whole number from 0`, 'leave it out for 5')
  return {
    maxMessages: within('maxMessages', options.maxMessages ?? MAX_SIZES.queuedPerRule, MAX_SIZES.heldTotal),
    maxBytes: within('maxBytes', options.maxBytes ?? MAX_SIZES.queuedBytesPerRule, MAX_SIZES.heldBytesTotal),
    maxAgeMs,
    overflow,
    retries,
  }
}

/** Rate to use instead of a gate. Messages over the rate wait. */
export interface PublishRate {
  /** Rate such as `10/s burst 20` or `100kB/s`. */
  readonly rate: string
}

/** Returns the gate of a publisher, and whether the publisher owns it. Throws PolicyError or UnsupportedError. */
export function resolveGate(
  limits: Gate | PublishRate,
  dialect: Dialect,
  clock: Clock | undefined,
): { readonly gate: Gate; readonly isOwned: boolean } {
  if (limits instanceof Gate) {
    assertPublishable(limits)
    return { gate: limits, isOwned: false }
  }
  checkOptionNames(limits, { rate: true })
  const { rate } = limits
  const gate = new Gate({ dialect, clock })
  return { gate: gate.use(limit({ name: 'publishes', rate, exceeded: 'throttle' })), isOwned: true }
}

const REMEDIES = {
  redirect: 'use drop, or publish it elsewhere when `publish` reports it',
  disconnect: 'use drop or throttle',
} as const

function assertPublishable(gate: Gate): void {
  const handlerProblems = gate.handlerMonitor.names.map(
    name => `a publisher has no handlers, which "${name}" needs (use it with a consumer)`,
  )
  const outcomeProblems = Object.entries(REMEDIES).flatMap(([outcome, remedy]) => {
    const rules = gate.outcomes('publish').get(outcome as keyof typeof REMEDIES)
    return rules === undefined ? [] : [describeUnsupported('a publisher', `"${outcome}"`, rules, remedy)]
  })
  assertSupported([...handlerProblems, ...outcomeProblems])
}

function within(name: string, value: number, maximum: number): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= maximum) return value
  throw policyError(
    name,
    `${value} is not a whole number from 1 to ${maximum}`,
    `write at maximum ${maximum}`,
  )
}
