import { createHash } from 'node:crypto'
import { MAX_SIZES } from './max-sizes.ts'

const HASHED = 'sha256:'

/**
 * Returns a text that can be part of a key. Replaces texts of more than `maxChars`, and texts that look like a hash, by their
 * SHA-256, so that no two texts become equal. Required for every Map keyed by client input. Why: V8 hashes
 * strings of more than 16,383 characters by their length alone, so a Map of such keys needs quadratic time.
 */
export function hashLongPart(part: string, maxChars: number = MAX_SIZES.keyPartChars): string {
  if (part.length <= maxChars && !part.startsWith(HASHED)) return part
  return HASHED + createHash('sha256').update(part, 'utf16le').digest('base64url')
}
