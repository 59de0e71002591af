import { checkWithin, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { parseBytes } from '../core/units.ts'
import { compilePriority, type PrioritySource } from './priority.ts'
import { readHoldMs, type Then } from './throttle.ts'

export interface QueueOptions {
  /** Most messages held, of all senders together. Default: 10,000. */
  readonly max?: number | undefined
  /** Most bytes held, of payloads and topics. Default: 64 MiB. */
  readonly bytes?: number | string | undefined
  /** By the messages' priority and in turns between senders, or strictly by arrival. Default: priority. */
  readonly order?: 'priority' | 'arrival' | undefined
  /** Where a message says its priority. Default: the header `priority`, else the payload field `priority`. */
  readonly priority?: PrioritySource | undefined
  /** Longest wait, as a duration. Default: five minutes. */
  readonly upTo?: string | undefined
  /** What becomes of a message that finds no room, is pushed out or waits too long. Default: drop. */
  readonly then?: Then | undefined
}

/** The bounds and the order of what a rule holds for all its senders. */
export interface QueuePlan {
  readonly maxMessages: number
  readonly maxBytes: number
  /** `Infinity` for keep-latest: the newest value stays worth delivering. */
  readonly upToMs: number
  readonly then: Then
  readonly order: 'priority' | 'arrival' | 'latest'
  /** From 0, the least urgent, to {@link MOST_URGENT}. Never throws. */
  rankOf(message: Message): number
}

const FIRST_COME = (): number => 0

const OPTIONS: OptionNames<QueueOptions> = {
  max: true,
  bytes: true,
  order: true,
  priority: true,
  upTo: true,
  then: true,
}

/** Compiles the options of `queue` or, with `latest`, of `latest`. Throws PolicyError. */
export function compileQueue(options: QueueOptions, path: string, latest = false): QueuePlan {
  if (!latest) checkOptionNames(options, OPTIONS, path)
  const { max = MAX_SIZES.queuedPerRule, order = 'priority', then = 'drop' } = options
  const bytes = options.bytes ?? MAX_SIZES.queuedBytesPerRule
  oneOf(order, ['priority', 'arrival'], `${path}.order`)
  oneOf(then, ['drop', 'reject', 'disconnect'], `${path}.then`)
  const maxPath = `${path}.${latest ? 'topics' : 'max'}`
  const byPriority = !latest && order === 'priority'
  return {
    maxMessages: within(max, MAX_SIZES.heldTotal, maxPath),
    maxBytes: within(
      checkWithin(`${path}.bytes`, () => parseBytes(bytes)),
      MAX_SIZES.heldBytesTotal,
      `${path}.bytes`,
    ),
    upToMs: latest
      ? Infinity
      : options.upTo === undefined
        ? MAX_SIZES.holdMs
        : readHoldMs(options.upTo, `${path}.upTo`),
    then,
    order: latest ? 'latest' : order,
    rankOf: byPriority ? compilePriority(options.priority, `${path}.priority`) : FIRST_COME,
  }
}

/** How a rule holds that says nothing about it, and one that is there no more. */
export const DEFAULT_QUEUE: QueuePlan = compileQueue({}, 'queue')
export const DEFAULT_LATEST: QueuePlan = compileQueue({}, 'latest', true)

function within(value: number, most: number, path: string): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value
  throw policyError(path, `${String(value)} is not a whole number from 1 to ${most}`, `write at most ${most}`)
}

function oneOf(word: string, words: readonly string[], path: string): void {
  if (!words.includes(word))
    throw policyError(path, `"${String(word)}" is none of them`, `use one of ${words.join(', ')}`)
}
