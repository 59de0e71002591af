import type { Problem } from '../core/errors.ts'
import type { LoopTurns } from '../core/loop-turns.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { hintForForeignKey } from './hints.ts'
import { policyJsonSchema, policySchema } from './schema.ts'
import { type DocumentFormat, explainIssue, findIssues, type JsonSchema } from './schema-issues.ts'
import { exemptSchema, ruleSchema } from './schema-rules.ts'
import { findUnreadablePaths, formatPath, type Located, toPlain, type ValuePath } from './source-positions.ts'

export interface SchemaCheckResult {
  /** Plain document; if there are problems, its form is only partly valid. */
  readonly plain: unknown
  readonly problems: readonly Problem[]
  /** Paths of invalid values, so that the rest can still be checked. */
  readonly invalidPaths: readonly ValuePath[]
}

let cachedSchema: JsonSchema | undefined

const FORMAT: DocumentFormat = {
  jsonSchema() {
    cachedSchema ??= policyJsonSchema()
    return cachedSchema
  },
  hintForKey: hintForForeignKey,
  schemaName: 'the JSON Schema of policies',
}

/** Lists of a policy whose entries are checked one by one. */
const ENTRY_SCHEMAS = { exempt: exemptSchema, rules: ruleSchema } as const

/**
 * Checks the form of a policy against the schema, in turns of the event loop. Above a bound, problems are not explained.
 */
export async function validateAgainstSchema(root: Located, turns: LoopTurns): Promise<SchemaCheckResult> {
  const { rest, lists } = separateLists(root)
  const plain = toPlain(rest)
  const unreadablePaths: ValuePath[] = []
  findUnreadablePaths(rest, [], unreadablePaths)
  const issues = [...findIssues(policySchema, plain)]
  for (const { name, items } of lists) {
    const entries: unknown[] = []
    ;(plain as Record<string, unknown>)[name] = entries
    for (const [index, item] of items.entries()) {
      if (turns.isOver()) await turns.next()
      const entry = toPlain(item)
      entries.push(entry)
      findUnreadablePaths(item, [name, index], unreadablePaths)
      for (const issue of findIssues(ENTRY_SCHEMAS[name], entry))
        issues.push({ ...issue, path: [name, index, ...issue.path] })
    }
  }
  const problems: Problem[] = []
  const invalidPaths: ValuePath[] = [...unreadablePaths]
  if (issues.length === 0) return { plain, problems, invalidPaths }
  for (const issue of issues) {
    if (problems.length <= MAX_SIZES.policyProblems) explainIssue(issue, root, FORMAT, problems, invalidPaths)
  }
  const reportedPaths = new Set(unreadablePaths.map(formatPath))
  return { plain, problems: problems.filter(({ path }) => !reportedPaths.has(path ?? '')), invalidPaths }
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
