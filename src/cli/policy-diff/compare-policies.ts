import { isDeepStrictEqual } from 'node:util'
import { type PolicyDocument, redact } from '../../policy/index.ts'

/** A word whose value differs; undefined where it is not written. Secrets are hidden. */
export interface ChangedWord {
  /** Path of the word, such as `limit` or `gold.burst`. */
  readonly word: string
  readonly old: unknown
  readonly new: unknown
}

/** A difference of two policies. */
export interface PolicyChange {
  readonly kind: 'new' | 'gone' | 'renamed' | 'changed' | 'moved'
  readonly what: 'rule' | 'exemption' | 'policy'
  /** Name of the rule or exemption, the old one if it was renamed; the word of a policy. */
  readonly name: string
  readonly newName?: string | undefined
  /** All words of what is new, and those that differ in what was changed. */
  readonly words: readonly ChangedWord[]
}

type Fields = Readonly<Record<string, unknown>>
type Entries = ReadonlyMap<string, Fields>

/** Returns the differences of two policies: of rules and exemptions by name, and of other words. */
export function comparePolicies(old: PolicyDocument, now: PolicyDocument): readonly PolicyChange[] {
  const { rules: oldRules = [], exempt: oldExempt = [], ...oldRest } = old
  const { rules = [], exempt = [], ...rest } = now
  return [
    ...compareEntries('exemption', byName(oldExempt, 'exempt'), byName(exempt, 'exempt')),
    ...compareEntries('rule', byName(oldRules, 'rules'), byName(rules, 'rules')),
    ...compareFields(oldRest, rest).map(
      (word): PolicyChange => ({ kind: 'changed', what: 'policy', name: word.word, words: [word] }),
    ),
  ]
}

function byName(entries: readonly Fields[], list: string): Entries {
  return new Map(
    entries.map((fields, index) => {
      const { name, ...words } = fields
      return [typeof name === 'string' ? name : `${list}[${index}]`, words]
    }),
  )
}

function compareEntries(what: 'rule' | 'exemption', old: Entries, now: Entries): readonly PolicyChange[] {
  const changes: PolicyChange[] = []
  const added = new Set([...now.keys()].filter(name => !old.has(name)))
  for (const [name, fields] of old) {
    const other = now.get(name)
    if (other !== undefined) {
      const words = compareFields(fields, other)
      if (words.length > 0) changes.push({ kind: 'changed', what, name, words })
      continue
    }
    const newName = [...added].find(each => isDeepStrictEqual(now.get(each), fields))
    if (newName === undefined) changes.push({ kind: 'gone', what, name, words: [] })
    else {
      added.delete(newName)
      changes.push({ kind: 'renamed', what, name, newName, words: [] })
    }
  }
  for (const name of added)
    changes.push({ kind: 'new', what, name, words: compareFields({}, now.get(name) ?? {}) })
  const order = (entries: Entries, others: Entries): readonly string[] =>
    [...entries.keys()].filter(name => others.has(name))
  const before = order(old, now)
  const after = order(now, old)
  const moved = after.find((name, index) => name !== before[index])
  if (moved !== undefined) changes.push({ kind: 'moved', what, name: moved, words: [] })
  return changes
}

/** Returns the words that differ, of nested objects one by one. */
function compareFields(old: Fields, now: Fields, path = ''): readonly ChangedWord[] {
  const words = [...new Set([...Object.keys(old), ...Object.keys(now)])]
  return words.flatMap(key => {
    const [before, after] = [old[key], now[key]]
    const word = `${path}${key}`
    if (isDeepStrictEqual(before, after)) return []
    if (isFields(before) && isFields(after)) return compareFields(before, after, `${word}.`)
    return [{ word, old: hideSecrets(key, before), new: hideSecrets(key, after) }]
  })
}

function hideSecrets(key: string, value: unknown): unknown {
  return value === undefined ? undefined : (redact({ [key]: value }) as Fields)[key]
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
