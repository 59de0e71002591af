import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'

/** Differences between the two topic dialects. */
export interface Grammar {
  readonly separator: string
  /** Wildcard of exactly one level. */
  readonly one: string
  /** Wildcard of all remaining levels; last level only. */
  readonly rest: string
  /** `a/#` matches `a` (MQTT 4.7.1.2); `a.>` does not match `a` (NATS). */
  readonly restMatchesParent: boolean
  /** A leading wildcard does not match topics that begin with `$` (MQTT 4.7.2). NATS has no such topics. */
  readonly hidesDollar: boolean
}

export const GRAMMARS: Readonly<Record<Dialect, Grammar>> = {
  mqtt: { separator: '/', one: '+', rest: '#', restMatchesParent: true, hidesDollar: true },
  nats: { separator: '.', one: '*', rest: '>', restMatchesParent: false, hidesDollar: false },
}

/** Problem of a pattern, and its remedy. */
export interface PatternProblem {
  readonly message: string
  readonly remedy: string
}

const LONE_SURROGATE = /\p{Cs}/u
const NAME_MUST_NOT = /[+#\p{Cs}]/u
// Separators of the NATS protocol. nats-server passes every other byte, even U+0000.
const BREAKS_THE_LINE = /[ \t\r\n]/
const SHARE = '$share'

/**
 * Returns true if a message may have this topic. MQTT (4.7.3): 1 to 65,535 UTF-8 bytes, no wildcard, no
 * U+0000, no lone surrogate. NATS, like nats-server: no empty token, no whitespace; `*` and `>` are ordinary.
 */
export function validTopic(topic: string, dialect: Dialect = 'mqtt'): boolean {
  if (typeof topic !== 'string' || topic === '') return false
  if (dialect === 'nats') return !hasEmptyToken(topic) && !BREAKS_THE_LINE.test(topic)
  return !NAME_MUST_NOT.test(topic) && !topic.includes('\0') && fits(topic)
}

/**
 * Returns true if a broker accepts this filter (MQTT 4.7, 4.8.2 for `$share/group/filter`) or subject (NATS).
 * Captures are an extension of topicgate and not part of it: `{x}` is an ordinary level here.
 */
export function validPattern(pattern: string, dialect: Dialect = 'mqtt'): boolean {
  return findPatternProblem(pattern, dialect) === undefined
}

/** Returns the first problem of a pattern; `undefined` if it is valid. Accepts any value and never throws. */
export function findPatternProblem(pattern: unknown, dialect: Dialect): PatternProblem | undefined {
  const grammar = GRAMMARS[dialect]
  if (typeof pattern !== 'string')
    return { message: 'a pattern must be text', remedy: 'write it in quotes, as "fleet/+/status"' }
  if (pattern === '')
    return { message: 'a pattern must not be empty', remedy: `write ${grammar.rest} to match every topic` }
  if (pattern.includes('\0'))
    return { message: 'a pattern must not hold the character U+0000', remedy: 'remove it' }
  if (LONE_SURROGATE.test(pattern))
    return { message: 'a pattern must not hold half of a surrogate pair', remedy: 'write it as valid UTF-8' }
  if (!fits(pattern))
    return {
      message: `a pattern has at most ${MAX_SIZES.topicBytes} bytes`,
      remedy: 'shorten it, or use wildcards',
    }
  return dialect === 'nats' ? findSubjectFlaw(pattern) : findFilterFlaw(pattern)
}

/**
 * Returns the filter of `$share/group/filter` (MQTT 4.8.2); `undefined` for a plain filter. Empty, which is
 * never valid, if the group or filter is missing or the group contains a wildcard.
 */
export function sharedFilter(pattern: string): string | undefined {
  if (pattern !== SHARE && !pattern.startsWith(`${SHARE}/`)) return undefined
  const groupAt = SHARE.length + 1
  const groupEnd = pattern.indexOf('/', groupAt)
  if (groupEnd <= groupAt || /[+#]/.test(pattern.slice(groupAt, groupEnd))) return ''
  return pattern.slice(groupEnd + 1)
}

function findFilterFlaw(pattern: string): PatternProblem | undefined {
  const filter = sharedFilter(pattern) ?? pattern
  if (filter === '')
    return {
      message: 'a shared subscription needs a group without wildcards, and a filter',
      remedy: 'write it as $share/group/filter',
    }
  const rest = filter.indexOf('#')
  if (rest >= 0 && rest < filter.length - 1)
    return { message: '# must be the last character', remedy: 'use + for a single level in the middle' }
  if (rest > 0 && filter[rest - 1] !== '/')
    return {
      message: '# must stand alone in its level',
      remedy: `write ${quote(`${filter.slice(0, rest)}/#`)}`,
    }
  for (let at = filter.indexOf('+'); at >= 0; at = filter.indexOf('+', at + 1)) {
    const begins = at === 0 || filter[at - 1] === '/'
    const ends = at === filter.length - 1 || filter[at + 1] === '/'
    if (!begins || !ends)
      return {
        message: '+ must stand alone in its level',
        remedy: 'a wildcard takes the whole level, as a/+/b',
      }
  }
  return undefined
}

function findSubjectFlaw(pattern: string): PatternProblem | undefined {
  if (BREAKS_THE_LINE.test(pattern) || pattern.includes('\f') || pattern.includes('\v'))
    return { message: 'a subject must not hold whitespace', remedy: 'remove it, or match the token with *' }
  if (hasEmptyToken(pattern))
    return { message: 'a subject must not hold an empty token', remedy: 'remove the extra dot' }
  if (pattern.startsWith('>.') || pattern.includes('.>.'))
    return { message: '> must be the last token', remedy: 'use * for a single token in the middle' }
  return undefined
}

function hasEmptyToken(subject: string): boolean {
  return subject.startsWith('.') || subject.endsWith('.') || subject.includes('..')
}

// A character has at most three UTF-8 bytes (a pair, two characters, has four), so short text need not be
// measured.
function fits(text: string): boolean {
  if (text.length * 3 <= MAX_SIZES.topicBytes) return true
  return text.length <= MAX_SIZES.topicBytes && Buffer.byteLength(text) <= MAX_SIZES.topicBytes
}

/** Returns a text for an error message: quoted, escaped, and cut if it is long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
