import { type PolicyError, policyError } from '../core/errors.ts'
import { MOST_URGENT, PRIORITY_WORDS } from '../outcomes/read-priority.ts'
import type { PublishQueueOptions } from './types.ts'

/** Priority of a message: a word, or a whole number from 0 to 9. */
export type Priority = keyof typeof PRIORITY_WORDS | number

/** Options of a message in the publisher's queue. */
export interface QueuedPublishOptions {
  /** Higher priorities leave first. Default: normal, which is 3. */
  readonly priority?: Priority | undefined
  /**
   * Keeps only the newest message of its topic. While it waits, a newer message with `latest` replaces it and takes the
   * higher priority of both. A newer message that is sent drops it. Default: false.
   */
  readonly latest?: boolean | undefined
  /** Drops the message when the signal is aborted, if it still waits. A message handed to the client is not recalled. */
  readonly signal?: AbortSignal | undefined
}

/** Returns the message's place in the queue, or a PolicyError for an unknown priority. */
export function parsePublishQueueOptions({
  priority = 'normal',
  latest,
  signal,
}: QueuedPublishOptions): PublishQueueOptions | PolicyError {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    return policyError('signal', 'is not an AbortSignal', 'give the `signal` of an AbortController')
  const rank =
    typeof priority === 'string' && Object.hasOwn(PRIORITY_WORDS, priority)
      ? PRIORITY_WORDS[priority as keyof typeof PRIORITY_WORDS]
      : priority
  if (typeof rank === 'number' && Number.isInteger(rank) && rank >= 0 && rank <= MOST_URGENT)
    return { rank, latest: latest === true, signal }
  const words = Object.keys(PRIORITY_WORDS).join(', ')
  return policyError(
    'priority',
    `${JSON.stringify(priority)} is not a priority`,
    `use ${words} or 0 to ${MOST_URGENT}`,
  )
}
