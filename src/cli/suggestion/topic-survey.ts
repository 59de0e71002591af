import type { Dialect, Sender } from '../../core/message.ts'

/** Values of a level above which it becomes a capture. */
const MAX_VALUES = 20
/** Patterns above which the deepest levels are replaced by a wildcard. */
const MAX_PATTERNS = 12
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
 * does a level that names the sender.
 */
export class TopicSurvey {
  readonly #separator: string
  readonly #rest: string
  readonly #root = createNode()

  constructor(dialect: Dialect) {
    this.#separator = dialect === 'mqtt' ? '/' : '.'
    this.#rest = dialect === 'mqtt' ? '#' : '>'
  }

  record(topic: string, sender: Sender): void {
    let node = this.#root
    for (const level of topic.split(this.#separator)) {
      if (node.capture !== undefined) {
        node = node.capture
        continue
      }
      const name = nameOfIdentity(level, sender)
      let child = node.children.get(level)
      if (child === undefined) {
        child = createNode()
        node.children.set(level, child)
        if (name !== undefined || node.children.size > MAX_VALUES || /[{}+*#>]/.test(level)) {
          node.captureName = name
          collapse(node)
          child = node.capture!
        }
      }
      node = child
    }
    node.isEnd = true
  }

  /** Returns the patterns, sorted. */
  patterns(): readonly string[] {
    mergeSimilarSiblings(this.#root)
    let found = this.#list()
    while (found.length > MAX_PATTERNS && replaceDeepestByWildcard(this.#root)) found = this.#list()
    return found
  }

  #list(): readonly string[] {
    const found: string[] = []
    const visit = (node: TopicNode, levels: readonly string[]): void => {
      if (node.endsInWildcard) {
        found.push([...levels, this.#rest].join(this.#separator))
        return
      }
      if (node.isEnd) found.push(levels.join(this.#separator))
      if (node.capture !== undefined) visit(node.capture, [...levels, `{${nameCapture(node, levels)}}`])
      for (const [level, child] of node.children) visit(child, [...levels, level])
    }
    visit(this.#root, [])
    return found.sort()
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

function merge(into: TopicNode, from: TopicNode): void {
  into.isEnd ||= from.isEnd
  into.captureName ??= from.captureName
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

function shapeOf({ children, capture, isEnd }: TopicNode): string {
  const below = [...children].map(([level, child]) => `${JSON.stringify(level)}${shapeOf(child)}`).sort()
  return `${isEnd ? '.' : ''}(${below.join()}${capture === undefined ? '' : `{${shapeOf(capture)}}`})`
}

/** Replaces the deepest levels by a wildcard. Returns false if there are none left. */
function replaceDeepestByWildcard(root: TopicNode): boolean {
  let deepest: TopicNode | undefined
  let deepestLevel = 0
  const visit = (node: TopicNode, level: number): void => {
    if (node.endsInWildcard) return
    const children = [...node.children.values()]
    if (node.capture !== undefined) children.push(node.capture)
    if (children.length === 0) return
    if (level >= deepestLevel) {
      deepest = node
      deepestLevel = level
    }
    for (const child of children) visit(child, level + 1)
  }
  visit(root, 0)
  if (deepest === undefined) return false
  deepest.endsInWildcard = true
  return true
}

/** Names a capture after the part of the sender it is, or the level before: `{site}` in `sites/{site}`. */
function nameCapture({ captureName }: TopicNode, levels: readonly string[]): string {
  const before = levels.at(-1) ?? ''
  const singular =
    before.endsWith('s') && NAME.test(before) && before.length > 2 ? before.slice(0, -1) : undefined
  const name = captureName ?? singular ?? `level${levels.length + 1}`
  return levels.includes(`{${name}}`) ? `${name}${levels.length + 1}` : name
}
