import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'
import {
  findProblem,
  GRAMMARS,
  type Grammar,
  quote,
  sharedFilter,
  validPattern,
  validTopic,
} from './dialect.ts'

export { validPattern, validTopic } from './dialect.ts'

/** A level of a topic that a rule gives a name to: `{site}`. */
export interface Capture {
  readonly name: string
  /** Place of the level, counted from 0. */
  readonly level: number
}

/** The pattern of a rule, read and found sound. */
export interface Pattern {
  /** As the operator wrote it. */
  readonly text: string
  readonly dialect: Dialect
  /** Without a `$share/group/` in front; a capture stands as the wildcard of one level. */
  readonly levels: readonly string[]
  /** In the order of their levels. */
  readonly captures: readonly Capture[]
}

const CAPTURE = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/

/**
 * Whether a filter (MQTT) or subject with wildcards (NATS) matches a topic, by the standards: MQTT 4.7 and what
 * nats-server answers. An invalid pattern or topic matches nothing; never throws. A shared filter
 * `$share/group/filter` matches what `filter` matches, and as a plain matcher of names also itself.
 */
export function matches(pattern: string, topic: string, dialect: Dialect = 'mqtt'): boolean {
  if (!validTopic(topic, dialect) || !validPattern(pattern, dialect)) return false
  const grammar = GRAMMARS[dialect]
  if (matchLevels(pattern, topic, grammar)) return true
  const filter = dialect === 'mqtt' ? sharedFilter(pattern) : undefined
  return filter !== undefined && matchLevels(filter, topic, grammar)
}

function matchLevels(pattern: string, topic: string, grammar: Grammar): boolean {
  const { separator, one, rest } = grammar
  if (grammar.hidesDollar && topic[0] === '$' && (pattern[0] === one || pattern[0] === rest)) return false
  for (let p = 0, t = 0; ; ) {
    const pEnd = endOfLevel(pattern, separator, p)
    const tEnd = endOfLevel(topic, separator, t)
    const single = pEnd - p === 1 ? pattern[p] : ''
    if (single === rest) return true
    if (single !== one && !(pEnd - p === tEnd - t && topic.startsWith(pattern.slice(p, pEnd), t)))
      return false
    if (tEnd === topic.length) {
      if (pEnd === pattern.length) return true
      return grammar.restMatchesParent && pEnd + 2 === pattern.length && pattern[pEnd + 1] === rest
    }
    if (pEnd === pattern.length) return false
    p = pEnd + 1
    t = tEnd + 1
  }
}

function endOfLevel(text: string, separator: string, from: number): number {
  const end = text.indexOf(separator, from)
  return end < 0 ? text.length : end
}

/**
 * Reads the pattern of a rule. On top of the standards a whole level `{name}` is one level that is captured, and
 * matches what the wildcard of one level matches. Throws a PolicyError that says what is wrong and the remedy;
 * `path` is where the pattern stands in the policy.
 */
export function parsePattern(text: string, dialect: Dialect, path = 'topic'): Pattern {
  const { separator, one } = GRAMMARS[dialect]
  const refuse = (message: string, remedy: string): never => {
    throw policyError(path, `${quote(String(text))}: ${message}`, remedy)
  }
  const flaw = findProblem(text, dialect)
  if (flaw) refuse(flaw.message, flaw.remedy)
  const filter = (dialect === 'mqtt' ? sharedFilter(text) : undefined) ?? text
  const written = filter.split(separator, MAX_SIZES.topicLevels + 1)
  if (written.length > MAX_SIZES.topicLevels)
    refuse(
      `a pattern has at most ${MAX_SIZES.topicLevels} levels`,
      'shorten it, or end it with a wildcard for the rest',
    )
  const names = new Map<string, number>()
  const levels = written.map((level, index) => {
    if (!level.includes('{') && !level.includes('}')) return level
    const name = CAPTURE.exec(level)?.[1]
    if (name === undefined)
      return refuse(
        `the level ${quote(level)} is no capture`,
        'write a capture as a whole level, {name}, of letters, digits and _, not beginning with a digit',
      )
    if (names.has(name)) return refuse(`the capture {${name}} stands twice`, 'give each capture its own name')
    names.set(name, index)
    return one
  })
  const captures = Array.from(names, ([name, level]) => ({ name, level }))
  return { text, dialect, levels, captures }
}

/**
 * What the captures of a pattern hold of a topic it matches; of any other topic those levels that exist. The levels
 * are copies: keeping one does not keep its topic.
 */
export function captureLevels(pattern: Pattern, topic: string): Map<string, string> {
  const held = new Map<string, string>()
  const { separator } = GRAMMARS[pattern.dialect]
  let level = 0
  let from = 0
  for (const capture of pattern.captures) {
    for (; level < capture.level; level++) {
      from = topic.indexOf(separator, from) + 1
      if (from === 0) return held
    }
    held.set(capture.name, detach(topic.slice(from, endOfLevel(topic, separator, from))))
  }
  return held
}

/** A slice keeps the whole topic alive behind it; captures end up in keys, which live longer than topics. */
function detach(slice: string): string {
  return ` ${slice}`.slice(1)
}
