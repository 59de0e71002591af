import { isDeepStrictEqual } from 'node:util'
import { type PolicyDocument, redact } from '../../policy/index.ts'

/** A word whose value differs; undefined if it is not written. Secrets are redacted. */
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
  /** All words of what is new or gone, and those that differ in what was changed. */
  readonly words: readonly ChangedWord[]
}

type FieldValues = Readonly<Record<string, unknown>>

/** Fields of a policy, a rule or a part of one, as written and without secrets. */
interface Fields {
  readonly raw: FieldValues
  readonly redacted: FieldValues
}

type Entries = ReadonlyMap<string, Fields>

const NO_FIELDS: Fields = { raw: {}, redacted: {} }

/** Returns the differences of two policies: of rules and exemptions by name, and of other words. */
export function comparePolicies(old: PolicyDocument, now: PolicyDocument): readonly PolicyChange[] {
  const [before, after] = [splitPolicy(old), splitPolicy(now)]
  return [
    ...compareEntries(
      'exemption',
      withoutUnnamedOf(before.exemptions, after.exemptions),
      withoutUnnamedOf(after.exemptions, before.exemptions),
    ),
    ...compareEntries('rule', before.rules, after.rules),
    ...compareFields(before.rest, after.rest).map(
      (word): PolicyChange => ({ kind: 'changed', what: 'policy', name: word.word, words: [word] }),
    ),
  ]
}

interface SplitPolicy {
  readonly exemptions: Entries
  readonly rules: Entries
  readonly rest: Fields
}

function splitPolicy(document: PolicyDocument): SplitPolicy {
  const { rules = [], exempt = [], ...raw } = document
  // Redacts the whole document at once, because neighbouring fields decide whether a value is secret.
  const {
    rules: redactedRules = [],
    exempt: redactedExempt = [],
    ...redacted
  } = redact(document) as PolicyDocument
  return {
    exemptions: byName(exempt, redactedExempt, 'exempt'),
    rules: byName(rules, redactedRules, 'rules'),
    rest: { raw, redacted },
  }
}

function byName(
  entries: readonly FieldValues[],
  redactedEntries: readonly FieldValues[],
  list: string,
): Entries {
  return new Map(
    entries.map(({ name, ...raw }, index) => {
      const { name: _, ...redacted } = redactedEntries[index]!
      return [typeof name === 'string' ? name : `${list}[${index}]`, { raw, redacted }]
    }),
  )
}

/** Leaves out unnamed exemptions that the other policy has too: another place in the list is no difference. */
function withoutUnnamedOf(entries: Entries, others: Entries): Entries {
  const unnamed = [...others].filter(([name]) => isUnnamed(name)).map(([, { raw }]) => raw)
  const isInOthers = ({ raw }: Fields): boolean => unnamed.some(each => isDeepStrictEqual(each, raw))
  return new Map([...entries].filter(([name, fields]) => !(isUnnamed(name) && isInOthers(fields))))
}

function isUnnamed(name: string): boolean {
  return /^exempt\[\d+\]$/.test(name)
}

function compareEntries(what: 'rule' | 'exemption', old: Entries, now: Entries): readonly PolicyChange[] {
  const changes: PolicyChange[] = []
  const added = new Set([...now.keys()].filter(name => !old.has(name)))
  for (const [name, fields] of old) {
    const other = now.get(name)
    if (other !== undefined) {
      const changed = compareFields(fields, other)
      if (changed.length > 0) changes.push({ kind: 'changed', what, name, words: changed })
      continue
    }
    const newName = [...added].find(each => isDeepStrictEqual(now.get(each)?.raw, fields.raw))
    if (newName === undefined)
      changes.push({ kind: 'gone', what, name, words: compareFields(fields, NO_FIELDS) })
    else {
      added.delete(newName)
      changes.push({ kind: 'renamed', what, name, newName, words: [] })
    }
  }
  for (const name of added)
    changes.push({ kind: 'new', what, name, words: compareFields(NO_FIELDS, now.get(name) ?? NO_FIELDS) })
  const order = (entries: Entries, others: Entries): readonly string[] =>
    [...entries.keys()].filter(name => others.has(name))
  const before = order(old, now)
  const after = order(now, old)
  const moved = after.find((name, index) => name !== before[index])
  if (moved !== undefined) changes.push({ kind: 'moved', what, name: moved, words: [] })
  return changes
}

/** Returns the fields that differ, those of nested objects one by one. */
function compareFields(old: Fields, now: Fields, path = ''): readonly ChangedWord[] {
  const keys = [...new Set([...Object.keys(old.raw), ...Object.keys(now.raw)])]
  return keys.flatMap(key => {
    const word = `${path}${key}`
    if (isDeepStrictEqual(old.raw[key], now.raw[key])) return []
    const [before, after] = [nestedFields(old, key), nestedFields(now, key)]
    if (before !== undefined && after !== undefined) return compareFields(before, after, `${word}.`)
    return [{ word, old: old.redacted[key], new: now.redacted[key] }]
  })
}

/** Returns the fields of a nested object; undefined for another value, and for an object with keys that are secrets. */
function nestedFields({ raw, redacted }: Fields, key: string): Fields | undefined {
  const [inner, redactedInner] = [raw[key], redacted[key]]
  if (!isFieldValues(inner) || !isFieldValues(redactedInner)) return undefined
  const hasSecretKeys = Object.keys(inner).some(each => !Object.hasOwn(redactedInner, each))
  return hasSecretKeys ? undefined : { raw: inner, redacted: redactedInner }
}

function isFieldValues(value: unknown): value is FieldValues {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
