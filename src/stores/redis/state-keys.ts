import { createHash } from 'node:crypto'
import { policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

/** Printable ASCII without the delimiting braces; a leading # or ~ marks encoded text. */
const PLAIN = /^(?![#~])[!-z|]+$/
const NOTHING = '~'
const GLOB = /[\\*?[\]^]/g

/** Encodes a rule name or key for a state key: unchanged if short and plain, else its SHA-256. */
export function encodePart(text: string): string {
  if (text === '') return NOTHING
  if (text.length <= MAX_SIZES.redisKeyPartChars && PLAIN.test(text)) return text
  // UTF-16, because UTF-8 would map all lone surrogates to the same key.
  return `#${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}

/**
 * State keys of a store: `prefix:{key}rule`, different for different rules and keys. The text in braces decides the
 * Cluster slot, so rules that count by the same key share one.
 */
export class StateKeyBuilder {
  readonly #prefix: string

  /** Throws PolicyError for a prefix that is too long or that Redis would not return unchanged. */
  constructor(prefix: string) {
    if (prefix.length > MAX_SIZES.redisKeyPartChars || !/^[ -~]*$/.test(prefix)) {
      const remedy = `use at most ${MAX_SIZES.redisKeyPartChars} letters, digits and signs`
      throw policyError('prefix', `${JSON.stringify(prefix.slice(0, 40))} is not a valid prefix`, remedy)
    }
    this.#prefix = prefix
  }

  of(rule: string, key: string): string {
    return `${this.#prefix}:{${encodePart(key)}}${encodePart(rule)}`
  }

  /** Returns a SCAN pattern for the keys of a rule, of a key, or all. It may match other keys: see {@link owns}. */
  patternOf(rule: string | undefined, key: string | undefined): string {
    const part = (text: string | undefined): string =>
      text === undefined ? '*' : encodePart(text).replace(GLOB, '\\$&')
    return `${this.#prefix.replace(GLOB, '\\$&')}:{${part(key)}}${part(rule)}`
  }

  /** Returns true if a state key belongs to this store and selector, and not to a longer prefix. */
  owns(stateKey: string, rule: string | undefined, key: string | undefined): boolean {
    const start = `${this.#prefix}:{`
    if (!stateKey.startsWith(start)) return false
    const [itsKey, itsRule, ...more] = stateKey.slice(start.length).split('}')
    if (!itsKey || !itsRule || more.length > 0 || `${itsKey}${itsRule}`.includes('{')) return false
    if (key !== undefined && itsKey !== encodePart(key)) return false
    return rule === undefined || itsRule === encodePart(rule)
  }
}
