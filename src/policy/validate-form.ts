import type * as z from 'zod'
import type { Problem } from '../core/errors.ts'
import type { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { nearest } from '../core/option-names.ts'
import { hintForForeignKey } from './hints.ts'
import { policyJsonSchema, policySchema } from './schema.ts'
import { decodeExpectation } from './schema-primitives.ts'
import { exemptSchema, ruleSchema } from './schema-rules.ts'
import {
  findUnreadablePaths,
  formatPath,
  type Located,
  placeOf,
  toPlain,
  type ValuePath,
} from './source-positions.ts'

type Issue = z.core.$ZodIssue
type JsonSchema = Readonly<Record<string, unknown>>

export interface SchemaCheckResult {
  /** Plain document; if there are problems, its form is only partly valid. */
  readonly plain: unknown
  readonly problems: readonly Problem[]
  /** Paths of invalid values, so that the rest can still be checked. */
  readonly invalidPaths: readonly ValuePath[]
}

/** Lists of a policy whose entries are checked one by one. */
const ENTRY_SCHEMAS = { exempt: exemptSchema, rules: ruleSchema } as const

/**
 * Checks the form of a policy against the schema, in turns of the event loop. Above a bound, problems are not explained.
 */
export async function validateForm(root: Located, turns: LoopTurns): Promise<SchemaCheckResult> {
  const { rest, lists } = separateLists(root)
  const plain = toPlain(rest)
  const unread: ValuePath[] = []
  findUnreadablePaths(rest, [], unread)
  const issues = [...findIssues(policySchema, plain)]
  for (const { name, items } of lists) {
    const entries: unknown[] = []
    ;(plain as Record<string, unknown>)[name] = entries
    for (const [index, item] of items.entries()) {
      if (turns.isOver()) await turns.next()
      const entry = toPlain(item)
      entries.push(entry)
      findUnreadablePaths(item, [name, index], unread)
      for (const issue of findIssues(ENTRY_SCHEMAS[name], entry))
        issues.push({ ...issue, path: [name, index, ...issue.path] })
    }
  }
  const problems: Problem[] = []
  const wrong: ValuePath[] = [...unread]
  if (issues.length === 0) return { plain, problems, invalidPaths: wrong }
  for (const issue of issues) {
    if (problems.length <= MAX_SIZES.policyProblems) explain(issue, [], root, problems, wrong)
  }
  const silent = new Set(unread.map(formatPath))
  return { plain, problems: problems.filter(({ path }) => !silent.has(path ?? '')), invalidPaths: wrong }
}

interface EntryList {
  readonly name: keyof typeof ENTRY_SCHEMAS
  readonly items: readonly Located[]
}

/** Returns the lists of entries, and the policy with empty lists in their place. */
function separateLists(root: Located): { readonly rest: Located; readonly lists: readonly EntryList[] } {
  if (root.kind !== 'map') return { rest: root, lists: [] }
  const lists: EntryList[] = []
  const entries = new Map(root.entries)
  for (const name of ['exempt', 'rules'] as const) {
    const entry = entries.get(name)
    if (entry?.value.kind !== 'list') continue
    lists.push({ name, items: entry.value.items })
    entries.set(name, { key: entry.key, value: { ...entry.value, items: [] } })
  }
  return { rest: { ...root, entries }, lists }
}

function findIssues(schema: z.ZodType, plain: unknown): readonly Issue[] {
  // The empty text marks values for which the schema has no text of its own.
  const result = schema.safeParse(plain, { error: () => '' })
  return result.success ? [] : result.error.issues
}

function explain(
  issue: Issue,
  base: ValuePath,
  root: Located,
  problems: Problem[],
  wrong: ValuePath[],
): void {
  const path: ValuePath = [
    ...base,
    ...issue.path.map(step => (typeof step === 'symbol' ? String(step) : step)),
  ]
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys.slice(0, MAX_SIZES.policyProblems)) {
      wrong.push([...path, key])
      problems.push(unknownKey([...path, key], path, root))
    }
    return
  }
  if (issue.code === 'invalid_union') {
    const branch = findIntendedBranch(issue.errors)
    if (branch) {
      for (const inner of branch) explain(inner, path, root, problems, wrong)
      return
    }
  }
  wrong.push(path)
  const value = valueAt(root, path)
  const place = placeOf(root, path)
  const { noun, remedy } = decodeExpectation(issue.message)
  if (value === undefined) {
    const name = String(path.at(-1))
    const what = remedy ?? 'add it'
    problems.push({
      ...place,
      path: formatPath(path.slice(0, -1)),
      message: `\`${name}\` is missing`,
      remedy: what,
    })
    return
  }
  problems.push({
    ...place,
    path: formatPath(path),
    message: `${isSecret(path) ? 'the value' : formatValue(value)} is not ${noun ?? 'allowed here'}`,
    remedy: remedyOf(issue, value, remedy),
  })
}

let cachedSchema: JsonSchema | undefined

function jsonSchema(): JsonSchema {
  cachedSchema ??= policyJsonSchema()
  return cachedSchema
}

function unknownKey(path: ValuePath, parent: ValuePath, root: Located): Problem {
  const key = String(path.at(-1))
  const words = wordsAt(jsonSchema(), parent)
  const near = nearest(key, words)
  return {
    ...placeOf(root, path, 'key'),
    path: formatPath(parent),
    message: `unknown key \`${key.slice(0, 60)}\``,
    remedy:
      hintForForeignKey(key) ?? (near === undefined ? `use ${words.join(', ')}` : `did you mean ${near}?`),
  }
}

function remedyOf(issue: Issue, value: unknown, remedy: string | undefined): string {
  const words = acceptedWords(issue)
  const near = typeof value === 'string' ? nearest(value, words) : undefined
  const usual =
    remedy ?? (words.length > 0 ? `use one of ${words.join(', ')}` : 'see the JSON Schema of policies')
  return near === undefined ? usual : `did you mean ${near}? ${usual}`
}

/** Returns the words that an issue would accept. */
function acceptedWords(issue: Issue): readonly string[] {
  if (issue.code === 'invalid_value') return issue.values.map(String)
  if (issue.code === 'invalid_union') return issue.errors.flat().flatMap(acceptedWords)
  return []
}

/** Returns the issues of the alternative that the author most likely meant; undefined if none is close. */
function findIntendedBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const offRoot = (issues: readonly Issue[]): number =>
    issues.reduce(
      (sum, { code, path }) => sum + (path.length > 0 ? 0 : code === 'unrecognized_keys' ? 1 : 100),
      0,
    )
  const ranked = branches
    .map(issues => ({ issues, distance: offRoot(issues) * 10 + issues.length }))
    .sort((a, b) => a.distance - b.distance)
  const [best, second] = ranked
  if (!best || best.distance >= 100) return undefined
  // For a key unknown to all alternatives, each also reports its own missing fields.
  return second && second.distance === best.distance ? undefined : best.issues
}

/** Returns the words allowed at a path. */
function wordsAt(schema: JsonSchema, path: ValuePath): readonly string[] {
  let here: readonly JsonSchema[] = variants(schema, schema)
  for (const step of path) {
    here = here.flatMap(each => {
      const properties = each.properties as Readonly<Record<string, JsonSchema>> | undefined
      const next = typeof step === 'number' ? each.items : (properties?.[step] ?? each.additionalProperties)
      return typeof next === 'object' && next !== null ? variants(next as JsonSchema, schema) : []
    })
  }
  const words = here.flatMap(each => Object.keys((each.properties as object | undefined) ?? {}))
  return [...new Set(words)].filter(word => word !== '$schema')
}

function variants(schema: JsonSchema, root: JsonSchema): readonly JsonSchema[] {
  if (typeof schema.$ref === 'string') {
    const target = (root.$defs as Readonly<Record<string, JsonSchema>>)[schema.$ref.split('/').at(-1) ?? '']
    return target ? variants(target, root) : []
  }
  const options = (schema.anyOf ?? schema.allOf) as readonly JsonSchema[] | undefined
  return options ? options.flatMap(option => variants(option, root)) : [schema]
}

function valueAt(root: Located, path: ValuePath): unknown {
  let here: Located | undefined = root
  for (const step of path) {
    here =
      here?.kind === 'map'
        ? here.entries.get(String(step))?.value
        : here?.kind === 'list'
          ? here.items[Number(step)]
          : undefined
  }
  return here && (here.kind === 'scalar' ? here.value : here.kind === 'list' ? [] : {})
}

/** Even invalid secrets must not be logged. */
function isSecret(path: ValuePath): boolean {
  return path.includes('secret') || path.includes('apiKeys')
}

/** Formats a value for a message: short, on one line. */
function formatValue(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value)
  return typeof value === 'function' ? 'a function' : String(value)
}
