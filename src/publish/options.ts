import { limit } from '../chain/rules/rule.ts'
import type { Clock } from '../core/clock.ts'
import { policyError, UnsupportedError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect, Sender } from '../core/message.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { Gate } from '../gate/gate.ts'
import type { Overflow } from './publish-queue.ts'

/** How a publisher holds what it cannot send at once. */
export interface PublisherOptions {
  /** Most messages that wait. Default: 10,000. */
  readonly maxMessages?: number | undefined
  /** Most bytes that wait, of payloads and topics. Default: 64 MiB. */
  readonly maxBytes?: number | undefined
  /** The longest a message waits before it is dropped; not of what keeps only its latest. Default: for ever. */
  readonly maxAgeMs?: number | undefined
  /** Which one is dropped where there is no room: of the least urgent the `newest`, or the `oldest`. Default: newest. */
  readonly overflow?: Overflow | undefined
  /** How often a message is sent again that the server refused for its rate or quota. Default: 5. */
  readonly retries?: number | undefined
  /** Who publishes, for rules by client, user or device. */
  readonly sender?: Sender | undefined
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
}

export type Settings = Required<Omit<PublisherOptions, 'sender' | 'clock' | 'logger'>>

export const PUBLISHER_OPTIONS: OptionNames<PublisherOptions> = {
  maxMessages: true,
  maxBytes: true,
  maxAgeMs: true,
  overflow: true,
  retries: true,
  sender: true,
  clock: true,
  logger: true,
}

/** The options with their defaults. Throws PolicyError for a number that cannot be meant. */
export function completePublisher(options: PublisherOptions): Settings {
  const { maxAgeMs = Infinity, overflow = 'newest', retries = 5 } = options
  if (!(maxAgeMs > 0))
    throw policyError('maxAgeMs', `${maxAgeMs} is not above 0`, 'leave it out to wait for ever')
  if (overflow !== 'newest' && overflow !== 'oldest')
    throw policyError('overflow', `"${String(overflow)}" is none of them`, 'use one of newest, oldest')
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

/** A simple rate instead of a gate: what is over it waits. */
export interface PublishRate {
  /** As `10/s burst 20`, or `100kB/s`. */
  readonly rate: string
}

/** The gate of a publisher, and whether it is the publisher's own. Throws PolicyError or UnsupportedError. */
export function gateOf(
  limits: Gate | PublishRate,
  dialect: Dialect,
  clock: Clock | undefined,
): { readonly gate: Gate; readonly own: boolean } {
  if (limits instanceof Gate) {
    assertPublishable(limits)
    return { gate: limits, own: false }
  }
  checkOptionNames(limits, { rate: true })
  const { rate } = limits
  const gate = new Gate({ dialect, ...(clock && { clock }) })
  return { gate: gate.use(limit({ name: 'publishes', rate, exceeded: 'throttle' })), own: true }
}

const REMEDIES = {
  redirect: 'use drop, or publish it elsewhere when `publish` tells of it',
  disconnect: 'use drop or throttle',
} as const

function assertPublishable(gate: Gate): void {
  const blind = gate.handlerMonitor.names.map(
    name => `a publisher cannot tell "${name}" what handlers do (put it before a consumer)`,
  )
  const flaws = Object.entries(REMEDIES).flatMap(([outcome, remedy]) => {
    const rules = gate.outcomes('publish').get(outcome as keyof typeof REMEDIES)
    if (rules === undefined) return []
    const names = rules.map(rule => `"${rule}"`).join(', ')
    return [`a publisher cannot enact "${outcome}", which ${names} asks for (${remedy})`]
  })
  if (blind.length + flaws.length > 0) throw new UnsupportedError([...blind, ...flaws].join('\n'))
}

function within(name: string, value: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value
  throw policyError(name, `${value} is not a whole number from 1 to ${most}`, `write at most ${most}`)
}
