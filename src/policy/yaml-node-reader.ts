import { isAlias, isMap, isScalar, isSeq, type ParsedNode } from 'yaml'
import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { YamlPart } from './compose-yaml.ts'
import { type EnvironmentVariables, resolvePlainScalar, substitute } from './env-substitution.ts'
import { hintForSenderVariable } from './hints.ts'
import {
  formatPath,
  type Located,
  type LocatedEntry,
  type LocatedMap,
  type SourcePosition,
} from './source-positions.ts'

interface Pair {
  readonly key: ParsedNode
  readonly value: ParsedNode | null
}

/** Items read so far of the list that is the value of the next pair of the root. */
interface OpenList {
  readonly position: SourcePosition
  readonly items: Located[]
}

/** Converts the nodes of the library into located values, part by part. */
export class NodeReader {
  readonly problems: Problem[] = []
  readonly #env: EnvironmentVariables
  readonly #at: (offset: number) => SourcePosition
  /** The value of all parts read so far; undefined if there is none. */
  root: Located | undefined
  readonly #rootEntries = new Map<string, LocatedEntry>()
  #openList: OpenList | undefined
  /** Path of the value being read. */
  readonly #path: (string | number)[] = []
  /** Anchors by name in document order: an alias refers to the last one before it. Undefined while it is being read. */
  readonly #anchors = new Map<string, ParsedNode | undefined>()
  #aliasedValues = 0
  #aliasDepth = 0

  constructor(env: EnvironmentVariables, at: (offset: number) => SourcePosition) {
    this.#env = env
    this.#at = at
  }

  readPart(part: YamlPart): void {
    const { contents } = part
    if (contents === null) return
    if (part.kind === 'items' && isSeq<ParsedNode>(contents)) {
      this.#openList ??= { position: this.#at(contents.range[0]), items: [] }
      this.#path.push(part.key)
      this.#readItems(contents.items, this.#openList.items)
      this.#path.pop()
    } else if (isMap<ParsedNode, ParsedNode>(contents) && contents.anchor === undefined) {
      const openList = this.#openList
      this.#openList = undefined
      this.root = this.#readMap(contents.items, this.#at(contents.range[0]), this.#rootEntries, openList)
    } else this.root = this.#read(contents)
  }

  #read(node: ParsedNode | null): Located {
    if (node === null) return { kind: 'scalar', position: {}, value: null }
    const position = this.#at(node.range[0])
    // Far more problems than are listed, so the rest need not be read.
    if (this.problems.length > 10 * MAX_SIZES.policyProblems) {
      return { kind: 'scalar', position, value: null, isUnreadable: true }
    }
    if (this.#aliasDepth > 0) {
      const isTooDeep = this.#path.length > MAX_SIZES.policyDepth
      this.#aliasedValues = isTooDeep ? MAX_SIZES.policyAliasedValues + 1 : this.#aliasedValues + 1
      if (this.#aliasedValues > MAX_SIZES.policyAliasedValues) {
        return { kind: 'scalar', position, value: null, isUnreadable: true }
      }
    }
    if (isAlias(node)) return this.#readAlias(node.source, position)
    const { anchor } = node
    if (anchor !== undefined) this.#anchors.set(anchor, undefined)
    const located = this.#readContents(node, position)
    if (anchor !== undefined) this.#anchors.set(anchor, node)
    return located
  }

  #readContents(node: ParsedNode, position: SourcePosition): Located {
    if (isSeq<ParsedNode>(node)) return { kind: 'list', position, items: this.#readItems(node.items, []) }
    if (isMap<ParsedNode, ParsedNode>(node)) return this.#readMap(node.items, position, new Map())
    if (!isScalar(node)) return { kind: 'scalar', position, value: null }
    const { value } = node
    if (typeof value !== 'string' || !value.includes('${')) return { kind: 'scalar', position, value }
    const { text, isChanged, problems: flaws } = substitute(value, this.#env)
    for (const { variable, ...flaw } of flaws) {
      const hint = variable === undefined ? undefined : hintForSenderVariable(variable)
      this.#report(position, { ...flaw, remedy: hint ?? flaw.remedy })
    }
    const resolved = isChanged && node.type === 'PLAIN' ? resolvePlainScalar(text) : text
    return { kind: 'scalar', position, value: resolved, isUnreadable: flaws.length > 0 }
  }

  /** Adds the items of a list to those read before. */
  #readItems(nodes: readonly (ParsedNode | null)[], items: Located[]): readonly Located[] {
    for (const node of nodes) {
      this.#path.push(items.length)
      items.push(this.#read(node))
      this.#path.pop()
    }
    return items
  }

  /** Adds the pairs of a map to those read before. The first value is the rest of `openList`. */
  #readMap(
    pairs: readonly Pair[],
    start: SourcePosition,
    entries: Map<string, LocatedEntry>,
    openList?: OpenList,
  ): LocatedMap {
    let list = openList
    for (const { key: keyNode, value: valueNode } of pairs) {
      const name = isScalar(keyNode) ? String(keyNode.value) : ''
      const key = this.#at(keyNode.range[0])
      const first = entries.get(name)
      this.#path.push(name)
      const value = list === undefined ? this.#read(valueNode) : this.#readRest(list, valueNode)
      list = undefined
      if (name === '__proto__' || first) {
        this.#report(key, {
          message: first
            ? `\`${name}\` is given twice, first in line ${first.key.line}`
            : '`__proto__` cannot be a key',
          remedy: first ? 'remove one of them' : 'remove it',
        })
      } else
        entries.set(name, {
          key,
          value: value.position.line === undefined ? { ...value, position: key } : value,
        })
      this.#path.pop()
    }
    const [first] = entries.values()
    return { kind: 'map', position: first?.key ?? start, entries }
  }

  #readRest({ position, items }: OpenList, node: ParsedNode | null): Located {
    return {
      kind: 'list',
      position,
      items: this.#readItems(isSeq<ParsedNode>(node) ? node.items : [], items),
    }
  }

  #readAlias(name: string, position: SourcePosition): Located {
    const target = this.#anchors.get(name)
    if (!target) {
      const isOpen = this.#anchors.has(name)
      this.#report(position, {
        message: isOpen
          ? `the alias *${name} is inside its own anchor`
          : `there is no anchor &${name} before this`,
        remedy: 'write the value out',
      })
      return { kind: 'scalar', position, value: null, isUnreadable: true }
    }
    const before = this.#aliasedValues
    this.#aliasDepth++
    const located = this.#read(target)
    this.#aliasDepth--
    if (before <= MAX_SIZES.policyAliasedValues && this.#aliasedValues > MAX_SIZES.policyAliasedValues) {
      this.#report(position, {
        message: `aliases repeat more than ${MAX_SIZES.policyAliasedValues} values`,
        remedy: 'write the values out',
      })
    }
    return located
  }

  /** Reports a problem of the value being read. */
  #report(position: SourcePosition, problem: Problem): void {
    this.problems.push({ ...position, path: formatPath(this.#path), ...problem })
  }
}
