import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { parseBytes } from '../core/units.ts'
import { type HoldOverflowOutcome, readHoldMs } from './compile-hold-bounds.ts'
import { compilePriority, type PrioritySource } from './read-priority.ts'

export interface QueueOptions {
  /** Most messages held, over all senders. Default: 10,000. */
  readonly max?: number | undefined
  /** Most bytes held, in payloads and topics. Default: 64 MiB. */
  readonly bytes?: number | string | undefined
  /** `priority` orders by priority and lets senders take turns; `arrival` keeps the order of arrival. Default: priority. */
  readonly order?: 'priority' | 'arrival' | undefined
  /** Source of a message's priority. Default: the header `priority`, else the payload field `priority`. */
  readonly priority?: PrioritySource | undefined
  /** Longest wait, as a duration. Default: five minutes. */
  readonly upTo?: string | undefined
  /** Outcome of a message that finds no room, is pushed out or waits too long. Default: drop. */
  readonly then?: HoldOverflowOutcome | undefined
}

/** Bounds and order of the messages that a rule holds for all its senders. */
export interface QueuePlan {
  readonly maxMessages: number
  readonly maxBytes: number
  /** `Infinity` for `latest`. Because the newest value stays worth delivering. */
  readonly upToMs: number
  readonly then: HoldOverflowOutcome
  readonly order: 'priority' | 'arrival' | 'latest'
  /** Returns a rank from 0, the lowest, to {@link MOST_URGENT}. Never throws. */
  rankOf(message: Message): number
}

const RANK_BY_ARRIVAL = (): number => 0

const OPTIONS: KnownOptions<QueueOptions> = {
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
      checkWithPathPrefix(`${path}.bytes`, () => parseBytes(bytes)),
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
    rankOf: byPriority ? compilePriority(options.priority, `${path}.priority`) : RANK_BY_ARRIVAL,
  }
}

/** Plan of a rule that sets no queue options, or that no longer exists. */
export const DEFAULT_QUEUE: QueuePlan = compileQueue({}, 'queue')
export const DEFAULT_LATEST_PLAN: QueuePlan = compileQueue({}, 'latest', true)

function within(value: number, most: number, path: string): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value
  throw policyError(path, `${String(value)} is not a whole number from 1 to ${most}`, `write at most ${most}`)
}

function oneOf(word: string, words: readonly string[], path: string): void {
  if (!words.includes(word))
    throw policyError(path, `"${String(word)}" is not one of them`, `use one of ${words.join(', ')}`)
}
