import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type ParsedNode,
  Parser,
  type YAMLError,
} from 'yaml'
import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { type Env, resolvePlainScalar, substitute } from './env-substitution.ts'
import { hintForSenderVariable, suggestYamlFix } from './hints.ts'
import {
  formatPath,
  type Located,
  type LocatedEntry,
  type SourcePosition,
  type ValuePath,
} from './source-positions.ts'

export interface ParsedPolicy {
  /** Undefined if the text cannot be parsed. */
  readonly root: Located | undefined
  readonly problems: readonly Problem[]
}

/** Remedies for the parser's error codes and, if its own text is unclear, a better message. */
const SYNTAX_REMEDIES: Readonly<Record<string, readonly [remedy: string, message?: string]>> = {
  BAD_INDENT: ['close what was opened, and indent the entries of one list or object alike'],
  BLOCK_AS_IMPLICIT_KEY: ['put the value in quotes, or on a line of its own'],
  MISSING_CHAR: ['close the quote or bracket, or put a space after the colon'],
  MULTIPLE_DOCS: ['a policy is one document: remove the --- line', 'a second document starts here'],
  NON_STRING_KEY: ['write a word in front of the colon', 'a key must be text'],
  TAB_AS_INDENT: ['indent with spaces', 'a tab indents this line'],
  TAG_RESOLVE_FAILED: ['remove the tag', 'tags are not supported'],
  UNEXPECTED_TOKEN: ['check quotes, brackets, colons and dashes before it', 'unexpected text'],
}

/**
 * Parses YAML or JSON into located values and substitutes the variables of `env`. Reports duplicate keys, tags, second
 * documents and unset variables; limits nesting, aliases and errors. Never throws.
 */
export function parseYaml(text: string, env: Env, file?: string): ParsedPolicy {
  const lines = new LineCounter()
  const at = (offset: number): SourcePosition => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const { document, errors, stoppedAt } = compose(text, lines)
  const problems: Problem[] = errors
    .slice(0, MAX_SIZES.policyProblems)
    .map(error => explain(error, at, text))
    .filter(({ line, message, remedy }, index, all) => {
      const before = all[index - 1]
      return line !== before?.line || message !== before?.message || remedy !== before?.remedy
    })
  if (stoppedAt !== undefined) {
    const message = `lists and objects nest deeper than ${MAX_SIZES.policyDepth}, or most of this text is not YAML`
    problems.push({ ...at(stoppedAt), message, remedy: 'check the brackets, quotes and dashes before it' })
  }
  if (!document || problems.length > 0) return { root: undefined, problems }
  const reader = new NodeReader(env, at)
  const { contents } = document
  const root = contents === null ? undefined : reader.read(contents, [])
  if (!root || (root.kind === 'scalar' && root.value === null)) {
    const message = 'the policy is empty'
    problems.push({ ...at(0), message, remedy: 'write at least version: 1 and a list of rules' })
    return { root: undefined, problems }
  }
  return { root, problems: reader.problems }
}

interface Composed {
  readonly document?: Document.Parsed | undefined
  readonly errors: readonly YAMLError[]
  /** Offset at which parsing was abandoned. */
  readonly stoppedAt?: number | undefined
}

/** Works as the library's parseDocument, but stops before deep nesting or many errors overload its composer. */
function compose(text: string, lines: LineCounter): Composed {
  const parser = new Parser(lines.addNewLine)
  lines.addNewLine(0)
  const tokens = []
  let wrong = 0
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      tokens.push(token)
      if (token.type === 'error') wrong++
    }
    if (parser.stack.length > MAX_SIZES.policyDepth || wrong > MAX_SIZES.policyProblems) {
      return { errors: [], stoppedAt: parser.offset }
    }
  }
  tokens.push(...parser.end())
  const traceLimit = Error.stackTraceLimit
  // The library creates an Error per mistake; their stack traces would dominate the time for a broken file.
  Error.stackTraceLimit = 0
  try {
    const composer = new Composer({
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      // Quadratic in the library; the reader below checks it instead.
      uniqueKeys: false,
      resolveKnownTags: false,
      logLevel: 'silent',
    })
    let document: Document.Parsed | undefined
    for (const each of composer.compose(tokens, true, text.length)) {
      if (document !== undefined) {
        const error = { code: 'MULTIPLE_DOCS', pos: each.range.slice(0, 2) } as unknown as YAMLError
        return { document, errors: [...document.errors, error] }
      }
      document = each
    }
    return {
      document,
      errors: [...(document?.errors ?? []), ...(document?.warnings ?? [])],
    }
  } finally {
    Error.stackTraceLimit = traceLimit
  }
}

function explain(error: YAMLError, at: (offset: number) => SourcePosition, text: string): Problem {
  const place = at(error.pos[0])
  const line = text.split('\n', place.line)[(place.line ?? 1) - 1] ?? ''
  const own = error.message ?? ''
  if (/^sequence item without - indicator/i.test(own)) {
    const remedy = 'begin it in the same column as the words above it'
    return { ...place, message: 'this line is indented differently from the entry it belongs to', remedy }
  }
  const [remedy = 'correct the YAML', message] = SYNTAX_REMEDIES[error.code] ?? []
  const hint = suggestYamlFix(line)
  if (hint?.startsWith('put a space'))
    return { ...place, message: 'a space is missing in this line', remedy: hint }
  return {
    ...place,
    message: message ?? own.charAt(0).toLowerCase() + own.slice(1),
    remedy: hint ?? remedy,
  }
}

/** Converts the parser's nodes into located values. */
class NodeReader {
  readonly problems: Problem[] = []
  readonly #env: Env
  readonly #at: (offset: number) => SourcePosition
  /** Anchors by name in document order: an alias refers to the last one before it. Undefined while it is being read. */
  readonly #anchors = new Map<string, ParsedNode | undefined>()
  #aliasedValues = 0
  #aliasDepth = 0

  constructor(env: Env, at: (offset: number) => SourcePosition) {
    this.#env = env
    this.#at = at
  }

  read(node: ParsedNode | null, path: ValuePath): Located {
    if (node === null) return { kind: 'scalar', place: {}, value: null }
    const place = this.#at(node.range[0])
    // Far more problems than are listed, so the rest need not be read.
    if (this.problems.length > 10 * MAX_SIZES.policyProblems) {
      return { kind: 'scalar', place, value: null, isUnread: true }
    }
    if (this.#aliasDepth > 0) {
      const tooDeep = path.length > MAX_SIZES.policyDepth
      this.#aliasedValues = tooDeep ? MAX_SIZES.policyAliasedValues + 1 : this.#aliasedValues + 1
      if (this.#aliasedValues > MAX_SIZES.policyAliasedValues) {
        return { kind: 'scalar', place, value: null, isUnread: true }
      }
    }
    if (isAlias(node)) return this.#readAlias(node.source, place, path)
    const anchor = node.anchor
    if (anchor !== undefined) this.#anchors.set(anchor, undefined)
    const located = this.#readContents(node, place, path)
    if (anchor !== undefined) this.#anchors.set(anchor, node)
    return located
  }

  #readContents(node: ParsedNode, place: SourcePosition, path: ValuePath): Located {
    if (isSeq<ParsedNode>(node)) {
      return {
        kind: 'list',
        place,
        items: node.items.map((item, index) => this.read(item, [...path, index])),
      }
    }
    if (isMap<ParsedNode, ParsedNode>(node)) return this.#readMap(node.items, place, path)
    if (!isScalar(node)) return { kind: 'scalar', place, value: null }
    const { value } = node
    if (typeof value !== 'string') {
      return { kind: 'scalar', place, value: value as number | boolean | null }
    }
    const { text, isChanged: changed, problems: flaws } = substitute(value, this.#env)
    for (const { variable, ...flaw } of flaws) {
      const hint = variable === undefined ? undefined : hintForSenderVariable(variable)
      this.problems.push({ ...place, path: formatPath(path), ...flaw, remedy: hint ?? flaw.remedy })
    }
    const resolved = changed && node.type === 'PLAIN' ? resolvePlainScalar(text) : text
    return { kind: 'scalar', place, value: resolved, isUnread: flaws.length > 0 }
  }

  #readMap(
    pairs: readonly { readonly key: ParsedNode; readonly value: ParsedNode | null }[],
    place: SourcePosition,
    path: ValuePath,
  ): Located {
    const entries = new Map<string, LocatedEntry>()
    for (const pair of pairs) {
      const name = isScalar(pair.key) ? String(pair.key.value) : ''
      const key = this.#at(pair.key.range[0])
      const first = entries.get(name)
      const value = this.read(pair.value, [...path, name])
      if (name === '__proto__' || first) {
        this.problems.push({
          ...key,
          path: formatPath([...path, name]),
          message: first
            ? `\`${name}\` is given twice, first in line ${first.key.line}`
            : '`__proto__` cannot be a key',
          remedy: first ? 'remove one of them' : 'remove it',
        })
      } else
        entries.set(name, { key, value: value.place.line === undefined ? { ...value, place: key } : value })
    }
    return { kind: 'map', place: pairs[0] ? this.#at(pairs[0].key.range[0]) : place, entries }
  }

  #readAlias(name: string, place: SourcePosition, path: ValuePath): Located {
    const target = this.#anchors.get(name)
    const nothing: Located = { kind: 'scalar', place, value: null, isUnread: true }
    if (!target) {
      const known = this.#anchors.has(name)
      this.problems.push({
        ...place,
        path: formatPath(path),
        message: known
          ? `the alias *${name} is inside its own anchor`
          : `there is no anchor &${name} before this`,
        remedy: 'write the value out',
      })
      return nothing
    }
    const before = this.#aliasedValues
    this.#aliasDepth++
    const located = this.read(target, path)
    this.#aliasDepth--
    if (before <= MAX_SIZES.policyAliasedValues && this.#aliasedValues > MAX_SIZES.policyAliasedValues) {
      this.problems.push({
        ...place,
        path: formatPath(path),
        message: `aliases repeat more than ${MAX_SIZES.policyAliasedValues} values`,
        remedy: 'write the values out',
      })
    }
    return located
  }
}
