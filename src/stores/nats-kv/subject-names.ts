import { createHash } from 'node:crypto'
import { policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

const NOT_PLAIN = /[^\w-]/g
const BUCKET = /^[\w-]{1,64}$/

/**
 * A rule's name or a key as one token of a subject, different for different texts: letters, digits, - and _ as they are,
 * each other UTF-16 code unit as `=` and four hexadecimal digits, `=` alone for nothing. What would be longer than
 * {@link BOUNDS.remoteKeyChars} is `==` and its SHA-256.
 */
export function encodeToken(text: string): string {
  if (text === '') return '='
  if (text.length <= MAX_SIZES.remoteKeyChars) {
    const token = text.replace(NOT_PLAIN, unit => `=${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    if (token.length <= MAX_SIZES.remoteKeyChars) return token
  }
  // UTF-16, not UTF-8: that would make one key of all lone surrogates.
  return `==${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}

/** Throws PolicyError for what is no name of a bucket. */
export function checkBucket(name: string): string {
  if (BUCKET.test(name)) return name
  const remedy = 'use at most 64 letters, digits, - and _'
  throw policyError('bucket', `${JSON.stringify(name.slice(0, 40))} cannot be the name of a bucket`, remedy)
}

/** Throws PolicyError where a number is not whole or below `least`. */
export function checkWhole(path: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw policyError(path, `${String(value)} is not a whole number of at least ${least}`)
}
