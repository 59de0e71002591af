import { createHash } from 'node:crypto'
import { policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

/** Printable ASCII without braces, which delimit; a leading # or ~ marks what was encoded. */
const PLAIN = /^(?![#~])[!-z|]+$/
const NOTHING = '~'
const GLOB = /[\\*?[\]^]/g

/** A rule's name or a key as it stands in a state key: itself where it is short and plain, else its SHA-256. */
export function encodePart(text: string): string {
  if (text === '') return NOTHING
  if (text.length <= MAX_SIZES.remoteKeyChars && PLAIN.test(text)) return text
  // UTF-16, not UTF-8: that would make one key of all lone surrogates.
  return `#${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}

/**
 * The state keys of a store: `prefix:{key}rule`, different for different rules and keys. What stands in braces decides
 * the slot on Cluster, so rules that count by the same key share one.
 */
export class StateKeys {
  readonly #prefix: string

  /** Throws PolicyError for a prefix that is too long or holds what Redis would not give back unchanged. */
  constructor(prefix: string) {
    if (prefix.length > MAX_SIZES.remoteKeyChars || !/^[ -~]*$/.test(prefix)) {
      const remedy = `use at most ${MAX_SIZES.remoteKeyChars} letters, digits and signs`
      throw policyError('prefix', `${JSON.stringify(prefix.slice(0, 40))} cannot be a prefix`, remedy)
    }
    this.#prefix = prefix
  }

  of(rule: string, key: string): string {
    return `${this.#prefix}:{${encodePart(key)}}${encodePart(rule)}`
  }

  /** A pattern for SCAN that finds the keys of a rule, of a key, or all; it may find others too: see {@link owns}. */
  patternOf(rule: string | undefined, key: string | undefined): string {
    const part = (text: string | undefined): string =>
      text === undefined ? '*' : encodePart(text).replace(GLOB, '\\$&')
    return `${this.#prefix.replace(GLOB, '\\$&')}:{${part(key)}}${part(rule)}`
  }

  /** Whether a state key is one of these, and not of another whose prefix begins like this one. */
  owns(stateKey: string, rule: string | undefined, key: string | undefined): boolean {
    const start = `${this.#prefix}:{`
    if (!stateKey.startsWith(start)) return false
    const [itsKey, itsRule, ...more] = stateKey.slice(start.length).split('}')
    if (!itsKey || !itsRule || more.length > 0 || `${itsKey}${itsRule}`.includes('{')) return false
    if (key !== undefined && itsKey !== encodePart(key)) return false
    return rule === undefined || itsRule === encodePart(rule)
  }
}
