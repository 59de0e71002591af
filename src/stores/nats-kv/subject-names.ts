import { createHash } from 'node:crypto'
import { policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

const NOT_PLAIN = /[^\w-]/g
const BUCKET = /^[\w-]{1,64}$/

/**
 * Encodes a rule name or key as one subject token, injective: letters, digits, - and _ are unchanged, every other
 * UTF-16 code unit is `=` and four hexadecimal digits, and the empty text is `=`. A token longer than {@link
 * MAX_SIZES.redisKeyPartChars} becomes `==` and its SHA-256.
 */
export function encodeToken(text: string): string {
  if (text === '') return '='
  if (text.length <= MAX_SIZES.redisKeyPartChars) {
    const token = text.replace(NOT_PLAIN, unit => `=${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    if (token.length <= MAX_SIZES.redisKeyPartChars) return token
  }
  // UTF-16, because UTF-8 would map all lone surrogates to the same key.
  return `==${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}

/** Throws PolicyError for an invalid bucket name. */
export function checkBucketName(name: string): string {
  if (BUCKET.test(name)) return name
  const remedy = 'use at most 64 letters, digits, - and _'
  throw policyError('bucket', `${JSON.stringify(name.slice(0, 40))} is not a valid bucket name`, remedy)
}

/** Throws PolicyError if a number is not whole or is below `least`. */
export function checkWhole(path: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw policyError(path, `${String(value)} is not a whole number of at least ${least}`)
}
