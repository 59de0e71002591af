import { policyError } from '../core/errors.ts'
import type { Dialect } from '../core/message.ts'
import { GRAMMARS, type Grammar, sharedFilter, validTopic } from './dialect.ts'
import type { Pattern } from './pattern.ts'

/** A node reached by the levels walked so far. */
interface Node {
  /** A Map, because levels are untrusted and may be `__proto__`. */
  literals: Map<string, Node> | undefined
  /** Child for the wildcard of one level. */
  one: Node | undefined
  /** Ids of patterns that end here, ascending. */
  ends: number[] | undefined
  /** Ids of patterns whose wildcard for the rest follows here, ascending. */
  rests: number[] | undefined
}

const NONE: readonly number[] = Object.freeze([])

/**
 * Finds all patterns that match a topic in one walk over its levels. Each level costs one Map lookup per
 * reached node, independent of the number of patterns. A walk of d levels reaches at most 2^d nodes, and only
 * if the patterns contain a literal and a wildcard at every level. No walk is longer than the longest
 * pattern, so a topic of ten thousand levels costs no more than one of MAX_SIZES.topicLevels.
 */
export class Trie {
  readonly dialect: Dialect
  readonly #grammar: Grammar
  readonly #root: Node = emptyNode()
  // Buffers of a walk, reused so that a walk allocates its result only. A walk is synchronous and calls no
  // other code.
  #nodes: Node[] = []
  #reached: Node[] = []

  constructor(dialect: Dialect) {
    this.dialect = dialect
    this.#grammar = GRAMMARS[dialect]
  }

  /** Adds a pattern under an id. Ids may repeat, because a rule may have several patterns. */
  add(pattern: Pattern, id: number): void {
    if (pattern.dialect !== this.dialect)
      throw policyError(
        'topic',
        `a pattern of ${pattern.dialect} among those of ${this.dialect}`,
        'use one dialect',
      )
    let node = this.#root
    for (const level of pattern.levels) {
      // A valid pattern has the wildcard for the rest at its end only.
      if (level === this.#grammar.rest) {
        node.rests = insert(node.rests, id)
        return
      }
      node = level === this.#grammar.one ? oneOf(node) : literalOf(node, level)
    }
    node.ends = insert(node.ends, id)
  }

  /**
   * Returns the ids of the patterns that match a topic, ascending and unique. An invalid topic matches none.
   * Never throws.
   */
  match(topic: string): readonly number[] {
    return validTopic(topic, this.dialect) ? this.#walk(topic) : NONE
  }

  /**
   * Returns the ids of the patterns that cover a subscription filter, ascending and unique. Its wildcards
   * count as ordinary levels, so that `fleet/#` covers `fleet/+/x` and `fleet/#` but not `#`. For
   * `$share/group/filter`, the filter counts. Never throws.
   */
  matchFilter(filter: string): readonly number[] {
    if (typeof filter !== 'string') return NONE
    if (this.dialect === 'nats') return this.match(filter)
    const plain = sharedFilter(filter) ?? filter
    return plain === '' ? NONE : this.#walk(plain)
  }

  #walk(topic: string): readonly number[] {
    const { separator, restMatchesParent, hidesDollar } = this.#grammar
    const found: number[] = []
    let nodes = this.#nodes
    let reached = this.#reached
    let count = 1
    nodes[0] = this.#root
    let wild = !(hidesDollar && topic[0] === '$')
    for (let from = 0; count > 0; ) {
      const at = topic.indexOf(separator, from)
      const level = topic.slice(from, at < 0 ? topic.length : at)
      let next = 0
      for (let index = 0; index < count; index++) {
        const node = nodes[index]!
        if (wild) {
          if (node.rests !== undefined) append(found, node.rests)
          if (node.one !== undefined) reached[next++] = node.one
        }
        const literal = node.literals?.get(level)
        if (literal !== undefined) reached[next++] = literal
      }
      wild = true
      const passed = nodes
      nodes = reached
      reached = passed
      count = next
      if (at < 0) break
      from = at + 1
    }
    // The topic ends at these nodes. If it continued beyond all of them, there are none.
    for (let index = 0; index < count; index++) {
      const node = nodes[index]!
      if (restMatchesParent && node.rests !== undefined) append(found, node.rests)
      if (node.ends !== undefined) append(found, node.ends)
    }
    return found.length === 0 ? NONE : inOrder(found)
  }
}

function emptyNode(): Node {
  return { literals: undefined, one: undefined, ends: undefined, rests: undefined }
}

function oneOf(node: Node): Node {
  node.one ??= emptyNode()
  return node.one
}

function literalOf(node: Node, level: string): Node {
  node.literals ??= new Map()
  let child = node.literals.get(level)
  if (child === undefined) {
    child = emptyNode()
    node.literals.set(level, child)
  }
  return child
}

// Ids mostly arrive in ascending order and are appended.
function insert(ids: number[] | undefined, id: number): number[] {
  if (ids === undefined) return [id]
  let at = ids.length
  while (at > 0 && ids[at - 1]! > id) at--
  if (ids[at - 1] !== id) ids.splice(at, 0, id)
  return ids
}

function append(found: number[], ids: readonly number[]): void {
  for (const id of ids) found.push(id)
}

function inOrder(found: number[]): readonly number[] {
  for (let index = 1; index < found.length; index++) {
    if (found[index - 1]! >= found[index]!) {
      found.sort((a, b) => a - b)
      return found.filter((id, index) => index === 0 || id !== found[index - 1])
    }
  }
  return found
}
