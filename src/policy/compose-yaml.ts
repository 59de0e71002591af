import {
  Composer,
  CST,
  type Document,
  Lexer,
  type LineCounter,
  type ParsedNode,
  Parser,
  type YAMLError,
} from 'yaml'
import type { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'

/** A part of a document. Parts come in the order of the text. */
export type YamlPart =
  /** Pairs of the root map, or another kind of root as a whole. */
  | { readonly kind: 'root'; readonly contents: ParsedNode | null }
  /** Items of a list that is the value of the next pair of the root map. */
  | { readonly kind: 'items'; readonly key: string; readonly contents: ParsedNode | null }

export interface YamlErrors {
  readonly errors: readonly YAMLError[]
  /** Offset at which parsing was abandoned, because of deep nesting or many errors. */
  readonly stoppedAt?: number | undefined
}

type Collection = CST.BlockMap | CST.BlockSequence | CST.FlowCollection

/** Tokens of the text between two looks at the time. */
const LEXEMES_PER_LOOK = 128

/** Last children of an open collection that the parser may still change. */
const UNFINISHED = 2

const OPTIONS = {
  prettyErrors: false,
  stringKeys: true,
  // Quadratic in the library; the reader of the parts checks it instead.
  uniqueKeys: false,
  resolveKnownTags: false,
  logLevel: 'silent',
} as const

/**
 * Parses a text in turns of the event loop, and passes what is complete at the end of each turn to `onPart`. The root
 * map and the lists in it are divided, everything else is composed as a whole. Why parts: the tree of a large text takes
 * seconds, and 50 bytes for each of its bytes. Stops before deep nesting or many errors overload the library. No part
 * follows an error.
 */
export async function composeYaml(
  text: string,
  lines: LineCounter,
  turns: LoopTurns,
  onPart: (part: YamlPart) => void,
): Promise<YamlErrors> {
  const parser = new Parser(lines.addNewLine)
  lines.addNewLine(0)
  const rest: CST.Token[] = []
  const errors: YAMLError[] = []
  let wrong = 0
  let lexemes = 0
  let isFirstDocument = true
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      rest.push(token)
      if (token.type === 'error') wrong++
      if (token.type === 'document') isFirstDocument = false
    }
    if (parser.stack.length > MAX_SIZES.policyDepth || wrong > MAX_SIZES.policyProblems) {
      return { errors: [], stoppedAt: parser.offset }
    }
    if (errors.length > MAX_SIZES.policyProblems) return { errors }
    if (++lexemes % LEXEMES_PER_LOOK > 0 || !turns.isOver()) continue
    if (isFirstDocument) composeFinished(parser.stack, errors, onPart)
    await turns.next()
  }
  // Not by spread: a call takes some 100,000 arguments.
  for (const token of parser.end()) rest.push(token)
  const { documents, errors: found } = composeTokens(rest, text.length)
  const [document, second] = documents
  if (second !== undefined) {
    const error = { code: 'MULTIPLE_DOCS', pos: second.range.slice(0, 2) } as unknown as YAMLError
    return { errors: [...errors, ...(document?.errors ?? []), error] }
  }
  for (const error of found) errors.push(error)
  if (errors.length === 0) onPart({ kind: 'root', contents: document?.contents ?? null })
  return { errors }
}

/** Composes the children of the root map, and the items of the list in its last pair, that are complete. */
function composeFinished(
  [document, root, list]: readonly CST.Token[],
  errors: YAMLError[],
  onPart: (part: YamlPart) => void,
): void {
  if (document?.type !== 'document' || hasProperties(document.start) || root === undefined) return
  if (root.type !== 'block-map' && !isFlowCollection(root, '{')) return
  const compose = (collection: Collection, unfinished: number): ParsedNode | null | undefined => {
    let count = collection.items.length - unfinished
    // A comma without a value is an error unless it is the last one.
    while (count > 0 && isEmptyItem(collection.items[count - 1]!)) count--
    if (count < 1) return undefined
    const { documents, errors: found } = composeTokens(takeItems(collection, count))
    for (const error of found) errors.push(error)
    const contents = documents[0]?.contents ?? null
    if (contents !== null) collection.offset = contents.range[2]
    return errors.length === 0 ? contents : undefined
  }
  const pairs = compose(root, list === undefined ? UNFINISHED : 1)
  if (pairs !== undefined) onPart({ kind: 'root', contents: pairs })
  if (list?.type !== 'block-seq' && !isFlowCollection(list, '[')) return
  const { start, key, sep, value } = root.items.at(-1)!
  const isDivisible = sep !== undefined && value === undefined && !hasProperties(start) && !hasProperties(sep)
  const name = isDivisible && CST.isScalar(key) ? CST.resolveAsScalar(key, false, ignoreError) : null
  if (name === null) return
  const contents = compose(list, UNFINISHED)
  if (contents !== undefined) onPart({ kind: 'items', key: name.value, contents })
}

/** Moves the first items of an open collection into a document of their own. */
function takeItems(collection: Collection, count: number): readonly CST.Token[] {
  const part = { ...collection, items: collection.items.splice(0, count) } as Collection
  const [next] = collection.items
  if (part.type === 'flow-collection' && next !== undefined) {
    const { offset, indent } = part
    part.end =
      part.start.source === '['
        ? [{ type: 'flow-seq-end', offset, indent, source: ']' }]
        : [{ type: 'flow-map-end', offset, indent, source: '}' }]
    next.start = next.start.filter(({ type }) => type !== 'comma')
  }
  const parser = new Parser()
  parser.stack.push({ type: 'document', offset: part.offset, start: [] }, part)
  return [...parser.end()]
}

function composeTokens(
  tokens: readonly CST.Token[],
  endOffset = -1,
): { readonly documents: readonly Document.Parsed[]; readonly errors: readonly YAMLError[] } {
  const documents: Document.Parsed[] = []
  const traceLimit = Error.stackTraceLimit
  // The library creates an Error per mistake; their stack traces would dominate the time for a broken file.
  Error.stackTraceLimit = 0
  try {
    for (const document of new Composer(OPTIONS).compose(tokens, true, endOffset)) {
      documents.push(document)
      if (documents.length === 2) break
    }
  } finally {
    Error.stackTraceLimit = traceLimit
  }
  return { documents, errors: documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]) }
}

/** A key with an error is composed later, which reports it. */
function ignoreError(): void {}

function isEmptyItem({ sep, value }: CST.CollectionItem): boolean {
  return sep === undefined && value === undefined
}

/** Returns true if an anchor or a tag precedes a value: an alias of it means the whole value. */
function hasProperties(tokens: readonly CST.SourceToken[]): boolean {
  return tokens.some(({ type }) => type === 'anchor' || type === 'tag')
}

function isFlowCollection(token: CST.Token | undefined, start: '[' | '{'): token is CST.FlowCollection {
  return token?.type === 'flow-collection' && token.start.source === start
}
