import type { Dialect, Sender } from '../../core/message.ts'

/** Values of a level above which it becomes a capture. */
const MAX_VALUES = 20
/** Patterns above which the deepest levels are replaced by a wildcard. */
const MAX_PATTERNS = 12
/** A wildcard replaces the levels below. */
const MAX_LEVELS = 32
/** Characters of a level above which it becomes a capture. */
const MAX_LEVEL_CHARS = 512
/** Levels of all topics above which a wildcard replaces the deepest ones. */
const MAX_NODES = 20_000
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** A level of the topics seen. */
interface TopicNode {
  readonly children: Map<string, TopicNode>
  /** Child of a level with many values. All topics go there once it exists. */
  capture: TopicNode | undefined
  /** Name of the capture, if its values are those of a part of the sender. */
  captureName: string | undefined
  /** A topic ends here. */
  isEnd: boolean
  /** A wildcard replaces all levels below. */
  endsInWildcard: boolean
}

/**
 * Finds patterns for the topics of a capture, in bounded memory: a level with more than 20 values becomes a capture, and so
 * does a level that names the sender. Deep topics, and the deepest ones if there are too many, end with a wildcard.
 */
export class TopicSurvey {
  readonly #dialect: Dialect
  readonly #separator: string
  readonly #rest: string
  readonly #root = createNode()
  #maxLevels = MAX_LEVELS
  /** Nodes, with those that were merged since they were counted. */
  #nodes = 0

  constructor(dialect: Dialect) {
    this.#dialect = dialect
    this.#separator = dialect === 'mqtt' ? '/' : '.'
    this.#rest = dialect === 'mqtt' ? '#' : '>'
  }

  record(topic: string, sender: Sender): void {
    let node = this.#root
    const levels = topic.split(this.#separator, this.#maxLevels + 1)
    for (const [index, level] of levels.entries()) {
      if (index === this.#maxLevels) replaceBelow(node)
      if (node.endsInWildcard) return
      node = node.capture ?? node.children.get(level) ?? this.#addChild(node, level, sender)
    }
    node.isEnd = true
    if (this.#nodes > MAX_NODES) this.#removeDeepest()
  }

  /** Returns the patterns, sorted. */
  patterns(): readonly string[] {
    mergeSimilarSiblings(this.#root)
    let count = this.#list().length
    for (const { node } of parentsDeepestFirst(this.#root)) {
      if (count <= MAX_PATTERNS) break
      const before = this.#countPatterns(node)
      replaceBelow(node)
      count += this.#countPatterns(node) - before
    }
    return this.#list()
  }

  #addChild(node: TopicNode, level: string, sender: Sender): TopicNode {
    const name = nameOfIdentity(level, sender)
    const child = createNode()
    this.#nodes++
    // A copy: a part of a string keeps the whole string in memory.
    node.children.set(Buffer.from(level).toString(), child)
    const isValue = level.length > MAX_LEVEL_CHARS || /[{}+*#>]/.test(level)
    if (name === undefined && node.children.size <= MAX_VALUES && !isValue) return child
    node.captureName = name
    collapse(node)
    return node.capture!
  }

  /** Replaces the deepest levels until half of the nodes are left, so that they are seldom counted. */
  #removeDeepest(): void {
    let nodes = countNodes(this.#root)
    while (nodes > MAX_NODES / 2) {
      this.#maxLevels--
      replaceBelowLevel(this.#root, this.#maxLevels)
      nodes = countNodes(this.#root)
    }
    this.#nodes = nodes
  }

  #list(): readonly string[] {
    const found: string[] = []
    const visit = (node: TopicNode, levels: readonly string[]): void => {
      if (node.endsInWildcard) found.push([...levels, this.#rest].join(this.#separator))
      if (this.#hasOwnPattern(node)) found.push(levels.join(this.#separator))
      if (node.capture !== undefined) visit(node.capture, [...levels, `{${nameCapture(node, levels)}}`])
      for (const [level, child] of node.children) visit(child, [...levels, level])
    }
    visit(this.#root, [])
    return found.sort()
  }

  /** Returns the number of patterns of a node and its children, all of which end a pattern. */
  #countPatterns(node: TopicNode): number {
    let count = Number(this.#hasOwnPattern(node)) + Number(node.endsInWildcard)
    for (const child of childrenOf(node)) count += this.#countPatterns(child)
    return count
  }

  /** `a/#` matches `a`; `a.>` does not. */
  #hasOwnPattern({ isEnd, endsInWildcard }: TopicNode): boolean {
    return isEnd && !(endsInWildcard && this.#dialect === 'mqtt')
  }
}

function createNode(): TopicNode {
  return {
    children: new Map(),
    capture: undefined,
    captureName: undefined,
    isEnd: false,
    endsInWildcard: false,
  }
}

/** Returns the part of a sender whose value a level is. */
function nameOfIdentity(level: string, { client, device, user }: Sender): string | undefined {
  if (level === client || level === device) return 'device'
  return level === user ? 'user' : undefined
}

/** Merges all children into a capture. */
function collapse(node: TopicNode): void {
  const merged = node.capture ?? createNode()
  for (const child of node.children.values()) merge(merged, child)
  node.children.clear()
  node.capture = merged
}

function childrenOf({ children, capture }: TopicNode): readonly TopicNode[] {
  return capture === undefined ? [...children.values()] : [...children.values(), capture]
}

function countNodes(node: TopicNode): number {
  return childrenOf(node).reduce((count, child) => count + countNodes(child), 1)
}

function replaceBelow(node: TopicNode): void {
  node.endsInWildcard = true
  node.children.clear()
  node.capture = undefined
}

function replaceBelowLevel(node: TopicNode, level: number): void {
  const children = childrenOf(node)
  if (level === 0 && children.length > 0) replaceBelow(node)
  else for (const child of children) replaceBelowLevel(child, level - 1)
}

function merge(into: TopicNode, from: TopicNode): void {
  into.isEnd ||= from.isEnd
  into.captureName ??= from.captureName
  if (into.endsInWildcard || from.endsInWildcard) {
    replaceBelow(into)
    return
  }
  for (const [level, child] of from.children) {
    const same = into.children.get(level)
    if (same === undefined) into.children.set(level, child)
    else merge(same, child)
  }
  if (from.capture !== undefined) {
    if (into.capture === undefined) into.capture = from.capture
    else merge(into.capture, from.capture)
  }
  if (into.capture !== undefined || into.children.size > MAX_VALUES) collapse(into)
}

/** Makes a capture of siblings with the same levels below, one of which is a capture: `a/{device}` and `b/{device}`. */
function mergeSimilarSiblings(node: TopicNode): void {
  const { children, capture } = node
  if (capture !== undefined) mergeSimilarSiblings(capture)
  const alike = new Map<string, string[]>()
  for (const [level, child] of children) {
    mergeSimilarSiblings(child)
    const shape = shapeOf(child)
    alike.set(shape, [...(alike.get(shape) ?? []), level])
  }
  for (const [shape, levels] of alike) {
    if (levels.length < 2 || node.capture !== undefined || !shape.includes('{')) continue
    const merged = createNode()
    for (const level of levels) {
      merge(merged, children.get(level)!)
      children.delete(level)
    }
    node.capture = merged
  }
}

function shapeOf({ children, capture, isEnd, endsInWildcard }: TopicNode): string {
  const below = [...children].map(([level, child]) => `${JSON.stringify(level)}${shapeOf(child)}`).sort()
  const own = `${isEnd ? '.' : ''}${endsInWildcard ? '#' : ''}`
  return `${own}(${below.join()}${capture === undefined ? '' : `{${shapeOf(capture)}}`})`
}

/** Returns the nodes that have children, the deepest ones first. */
function parentsDeepestFirst(root: TopicNode): readonly { node: TopicNode; level: number }[] {
  const found: { node: TopicNode; level: number }[] = []
  const visit = (node: TopicNode, level: number): void => {
    const children = childrenOf(node)
    if (children.length > 0) found.push({ node, level })
    for (const child of children) visit(child, level + 1)
  }
  visit(root, 0)
  return found.reverse().sort((a, b) => b.level - a.level)
}

/** Names a capture after the part of the sender it is, or the level before: `{site}` in `sites/{site}`. */
function nameCapture({ captureName }: TopicNode, levels: readonly string[]): string {
  const before = levels.at(-1) ?? ''
  const singular =
    before.endsWith('s') && NAME.test(before) && before.length > 2 ? before.slice(0, -1) : undefined
  const name = captureName ?? singular ?? `level${levels.length + 1}`
  return levels.includes(`{${name}}`) ? `${name}${levels.length + 1}` : name
}
