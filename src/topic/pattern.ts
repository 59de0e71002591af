import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Dialect } from '../core/message.ts'
import {
  findPatternProblem,
  GRAMMARS,
  type Grammar,
  quote,
  sharedFilter,
  validPattern,
  validTopic,
} from './dialect.ts'

export { validPattern, validTopic } from './dialect.ts'

/** A named level of a topic: `{site}`. */
export interface TopicCapture {
  readonly name: string
  /** Index of the level, from 0. */
  readonly level: number
}

/** A parsed and valid pattern of a rule. */
export interface Pattern {
  /** Pattern as written by the operator. */
  readonly text: string
  readonly dialect: Dialect
  /** Levels without a leading `$share/group/`. A capture is replaced by the wildcard of one level. */
  readonly levels: readonly string[]
  /** Ordered by level. */
  readonly captures: readonly TopicCapture[]
}

const CAPTURE = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/

/**
 * Returns true if a filter (MQTT) or subject with wildcards (NATS) matches a topic, according to MQTT 4.7 and
 * nats-server. Invalid patterns and topics match nothing. A shared filter `$share/group/filter` matches the
 * same topics as `filter`, and also itself. Never throws.
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
 * Parses the pattern of a rule. In addition to the standards, a whole level `{name}` captures one level, like
 * the wildcard of one level. Throws PolicyError; `path` is the position of the pattern in the policy.
 */
export function parsePattern(text: string, dialect: Dialect, path = 'topic'): Pattern {
  const { separator, one } = GRAMMARS[dialect]
  const refuse = (message: string, remedy: string): never => {
    throw policyError(path, `${quote(String(text))}: ${message}`, remedy)
  }
  const flaw = findPatternProblem(text, dialect)
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
 * Returns the captured levels of a topic that matches the pattern; for other topics, those levels that exist.
 * The levels are copies, so that they do not keep the topic in memory.
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

/** Captured levels of a topic by name. A map of them is one. */
export interface TopicCaptures {
  get(name: string): string | undefined
}

/**
 * Returns the level of a topic that a pattern captures by a name, as {@link captureLevels} does; undefined if there is
 * none.
 */
export function findCapture({ captures, dialect }: Pattern, topic: string, name: string): string | undefined {
  for (const capture of captures) {
    if (capture.name !== name) continue
    const { separator } = GRAMMARS[dialect]
    let from = 0
    for (let level = 0; level < capture.level; level++) {
      from = topic.indexOf(separator, from) + 1
      if (from === 0) return undefined
    }
    return detach(topic.slice(from, endOfLevel(topic, separator, from)))
  }
  return undefined
}

/** Captured levels of a topic under one pattern, each found when it is read. Why: most keys need none of them. */
export class LazyTopicCaptures implements TopicCaptures {
  readonly #pattern: Pattern
  readonly #topic: string

  constructor(pattern: Pattern, topic: string) {
    this.#pattern = pattern
    this.#topic = topic
  }

  get(name: string): string | undefined {
    return findCapture(this.#pattern, this.#topic, name)
  }
}

/** Copies a slice. Why: a slice keeps the whole topic in memory, and captures become keys, which outlive topics. */
function detach(slice: string): string {
  return ` ${slice}`.slice(1)
}
