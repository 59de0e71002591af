import { readHeader } from '../conditions/header.ts'
import { parseFieldPath, readField } from '../conditions/payload-field.ts'
import { policyError } from '../core/errors.ts'
import type { Message } from '../core/message.ts'

/** Where a message says how urgent it is: a payload field, or a header (MQTT 5: user property). */
export type PrioritySource = { readonly payload: string } | { readonly header: string }

/** The words for an urgency, and the numbers they stand for. */
export const PRIORITY_WORDS = { low: 0, normal: 3, high: 6, emergency: 9 } as const

/** The most urgent rank. Ranks are whole numbers from 0. */
export const MOST_URGENT = 9

/**
 * Reads a message's rank: a word of {@link PRIORITY_WORDS}, or a number from 0 to 9, cut to a whole one within. What
 * is missing or cannot be read is `normal`. Any sender can claim any rank: a rank opens no limit, it only orders
 * what waits. Throws PolicyError for a source that is none; what it returns never throws.
 */
export function compilePriority(
  source: PrioritySource | undefined,
  path: string,
): (message: Message) => number {
  if (source === undefined) {
    return message => rankOf(readHeader(message, 'priority')[0] ?? readField(message, ['priority']))
  }
  if ('header' in source) {
    const { header } = source
    if (typeof header !== 'string' || header === '')
      throw policyError(`${path}.header`, 'the name is missing', 'write the name of a header')
    return message => rankOf(readHeader(message, header)[0])
  }
  const field = typeof source.payload === 'string' ? parseFieldPath(source.payload) : undefined
  if (field === undefined) {
    const message = `${JSON.stringify(source.payload)} is not a field path`
    throw policyError(`${path}.payload`, message, 'write a path as priority or meta.urgency')
  }
  return message => rankOf(readField(message, field))
}

function rankOf(value: unknown): number {
  if (typeof value === 'string' && Object.hasOwn(PRIORITY_WORDS, value)) {
    return PRIORITY_WORDS[value as keyof typeof PRIORITY_WORDS]
  }
  const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || Number.isNaN(number)) return PRIORITY_WORDS.normal
  return Math.min(MOST_URGENT, Math.max(0, Math.floor(number)))
}
