import { readHeaderValue } from '../conditions/header.ts'
import { parseFieldPath, readPayloadField } from '../conditions/payload-field.ts'
import { policyError } from '../core/errors.ts'
import type { FieldPath } from '../core/field-path.ts'
import type { Message } from '../core/message.ts'

/** Source of a message's priority: a payload field or a header (MQTT 5: user property). */
export type PrioritySource = { readonly payload: string } | { readonly header: string }

/** Words for priorities, and their ranks. */
export const PRIORITY_WORDS = { low: 0, normal: 3, high: 6, emergency: 9 } as const

const DEFAULT_FIELD: FieldPath = ['priority']

/** Highest rank. Ranks are whole numbers from 0. */
export const MOST_URGENT = 9

/**
 * Compiles a function that reads a message's rank: a word of {@link PRIORITY_WORDS}, or a number, rounded down to a
 * whole one from 0 to 9. A missing or unreadable priority is `normal`. Senders may claim any rank, because a rank only
 * orders what waits and opens no limit. Throws PolicyError for a wrong source. The returned function never throws.
 */
export function compilePriority(
  source: PrioritySource | undefined,
  path: string,
): (message: Message) => number {
  if (source === undefined) {
    return message => rankOf(readHeaderValue(message, 'priority') ?? readPayloadField(message, DEFAULT_FIELD))
  }
  if ('header' in source) {
    const { header } = source
    if (typeof header !== 'string' || header === '')
      throw policyError(
        `${path}.header`,
        `${JSON.stringify(header)} is not a header name`,
        'write the name of a header',
      )
    return message => rankOf(readHeaderValue(message, header))
  }
  const field = typeof source.payload === 'string' ? parseFieldPath(source.payload) : undefined
  if (field === undefined) {
    const message = `${JSON.stringify(source.payload)} is not a field path`
    throw policyError(`${path}.payload`, message, 'write a path such as priority or meta.urgency')
  }
  return message => rankOf(readPayloadField(message, field))
}

function rankOf(value: unknown): number {
  if (typeof value === 'string' && Object.hasOwn(PRIORITY_WORDS, value)) {
    return PRIORITY_WORDS[value as keyof typeof PRIORITY_WORDS]
  }
  const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || Number.isNaN(number)) return PRIORITY_WORDS.normal
  return Math.min(MOST_URGENT, Math.max(0, Math.floor(number)))
}
