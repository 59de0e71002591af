import type * as z from 'zod'
import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { nearest } from '../core/option-names.ts'
import { decodeExpectation } from './schema-primitives.ts'
import { formatPath, type Located, positionOf, type ValuePath } from './source-positions.ts'

const MERGE_KEY_REMEDY = 'merge keys are not read: write the words out'

type Issue = z.core.$ZodIssue
export type JsonSchema = Readonly<Record<string, unknown>>

/** A kind of file that is checked against a schema. */
export interface DocumentFormat {
  /** Lists the words that are allowed at each place. */
  jsonSchema(): JsonSchema
  /** Returns the remedy for a key that authors often write by mistake. */
  hintForKey(key: string): string | undefined
  /** Name of the description of the format, such as `the JSON Schema of policies`. */
  readonly schemaName: string
}

/** Returns how a plain value breaks a schema. */
export function findIssues(schema: z.ZodType, plain: unknown): readonly Issue[] {
  // The empty text marks values for which the schema has no text of its own.
  const result = schema.safeParse(plain, { error: () => '' })
  return result.success ? [] : result.error.issues
}

/** Adds the problems of an issue to `problems`, and the paths of wrong values to `wrong`. */
export function explainIssue(
  issue: Issue,
  root: Located,
  format: DocumentFormat,
  problems: Problem[],
  wrong: ValuePath[],
  base: ValuePath = [],
): void {
  const path: ValuePath = [
    ...base,
    ...issue.path.map(step => (typeof step === 'symbol' ? String(step) : step)),
  ]
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys.slice(0, MAX_SIZES.policyProblems)) {
      wrong.push([...path, key])
      problems.push(unknownKey([...path, key], path, root, format))
    }
    return
  }
  if (issue.code === 'invalid_union') {
    const branch = findIntendedBranch(issue.errors)
    if (branch) {
      for (const inner of branch) explainIssue(inner, root, format, problems, wrong, path)
      return
    }
  }
  wrong.push(path)
  const value = valueAt(root, path)
  const position = positionOf(root, path)
  const { noun, remedy } = decodeExpectation(issue.message)
  if (value === undefined) {
    const name = String(path.at(-1))
    const what = remedy ?? 'add it'
    problems.push({
      ...position,
      path: formatPath(path.slice(0, -1)),
      message: `\`${name}\` is missing`,
      remedy: what,
    })
    return
  }
  problems.push({
    ...position,
    path: formatPath(path),
    message: `${isSecret(path) ? 'the value' : formatValue(value)} is not ${noun ?? 'allowed here'}`,
    remedy: remedyOf(issue, value, remedy, format),
  })
}

function unknownKey(path: ValuePath, parent: ValuePath, root: Located, format: DocumentFormat): Problem {
  const key = String(path.at(-1))
  const words = wordsAt(format.jsonSchema(), parent)
  const near = nearest(key, words)
  return {
    ...positionOf(root, path, 'key'),
    path: formatPath(parent),
    message: `unknown key \`${key.slice(0, 60)}\``,
    remedy:
      (key === '<<' ? MERGE_KEY_REMEDY : format.hintForKey(key)) ??
      (near === undefined ? `use ${words.join(', ')}` : `did you mean ${near}?`),
  }
}

function remedyOf(
  issue: Issue,
  value: unknown,
  remedy: string | undefined,
  { schemaName }: DocumentFormat,
): string {
  const words = acceptedWords(issue)
  const near = typeof value === 'string' ? nearest(value, words) : undefined
  const usual = remedy ?? (words.length > 0 ? `use one of ${words.join(', ')}` : `see ${schemaName}`)
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
