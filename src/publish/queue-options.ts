import { type PolicyError, policyError } from '../core/errors.ts'
import { MOST_URGENT, PRIORITY_WORDS } from '../outcomes/priority.ts'
import type { QueuePlacement } from './types.ts'

/** How urgent a message is: a word, or a whole number from 0 to 9. */
export type Priority = keyof typeof PRIORITY_WORDS | number

/** What a message asks of the publisher's queue. */
export interface QueueParams {
  /** The most urgent leaves first. Default: normal, which is 3. */
  readonly priority?: Priority | undefined
  /**
   * Of its topic only the newest counts: while it waits, a newer one with `latest` takes its place and the higher priority of
   * both, and any newer one that is sent drops it. Default: false.
   */
  readonly latest?: boolean | undefined
  /** Drops the message while it still waits, once it is aborted. What the client has been given stays with it. */
  readonly signal?: AbortSignal | undefined
}

/** Returns what a message asks for, or a PolicyError for a priority that does not exist. */
export function parseQueueParams({
  priority = 'normal',
  latest,
  signal,
}: QueueParams): QueuePlacement | PolicyError {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    return policyError('signal', 'is not an AbortSignal', 'give the `signal` of an AbortController')
  const rank =
    typeof priority === 'string' && Object.hasOwn(PRIORITY_WORDS, priority)
      ? PRIORITY_WORDS[priority as keyof typeof PRIORITY_WORDS]
      : priority
  if (typeof rank === 'number' && Number.isInteger(rank) && rank >= 0 && rank <= MOST_URGENT)
    return { rank, latest: latest === true, signal }
  const words = Object.keys(PRIORITY_WORDS).join(', ')
  return policyError('priority', `${JSON.stringify(priority)} is none`, `use ${words} or 0 to ${MOST_URGENT}`)
}
