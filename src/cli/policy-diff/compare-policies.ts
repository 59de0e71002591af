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
  /** All words of what is new or gone, and those that differ in what was changed. */
  readonly words: readonly ChangedWord[]
}

type Fields = Readonly<Record<string, unknown>>

/** Words of a policy, a rule or a part of one, with those that may be shown: without secrets. */
interface Words {
  readonly written: Fields
  readonly shown: Fields
}

type Entries = ReadonlyMap<string, Words>

const NO_WORDS: Words = { written: {}, shown: {} }

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
    ...compareWords(before.rest, after.rest).map(
      (word): PolicyChange => ({ kind: 'changed', what: 'policy', name: word.word, words: [word] }),
    ),
  ]
}

interface SplitPolicy {
  readonly exemptions: Entries
  readonly rules: Entries
  readonly rest: Words
}

function splitPolicy(document: PolicyDocument): SplitPolicy {
  const { rules = [], exempt = [], ...written } = document
  // Hidden as a whole: what is a secret depends on the words around it.
  const { rules: shownRules = [], exempt: shownExempt = [], ...shown } = redact(document) as PolicyDocument
  return {
    exemptions: byName(exempt, shownExempt, 'exempt'),
    rules: byName(rules, shownRules, 'rules'),
    rest: { written, shown },
  }
}

function byName(entries: readonly Fields[], shownEntries: readonly Fields[], list: string): Entries {
  return new Map(
    entries.map(({ name, ...written }, index) => {
      const { name: _, ...shown } = shownEntries[index]!
      return [typeof name === 'string' ? name : `${list}[${index}]`, { written, shown }]
    }),
  )
}

/** Leaves out unnamed exemptions that the other policy has too: another place in the list is no difference. */
function withoutUnnamedOf(entries: Entries, others: Entries): Entries {
  const unnamed = [...others].filter(([name]) => isUnnamed(name)).map(([, { written }]) => written)
  const isInOthers = ({ written }: Words): boolean => unnamed.some(each => isDeepStrictEqual(each, written))
  return new Map([...entries].filter(([name, words]) => !(isUnnamed(name) && isInOthers(words))))
}

function isUnnamed(name: string): boolean {
  return /^exempt\[\d+\]$/.test(name)
}

function compareEntries(what: 'rule' | 'exemption', old: Entries, now: Entries): readonly PolicyChange[] {
  const changes: PolicyChange[] = []
  const added = new Set([...now.keys()].filter(name => !old.has(name)))
  for (const [name, words] of old) {
    const other = now.get(name)
    if (other !== undefined) {
      const changed = compareWords(words, other)
      if (changed.length > 0) changes.push({ kind: 'changed', what, name, words: changed })
      continue
    }
    const newName = [...added].find(each => isDeepStrictEqual(now.get(each)?.written, words.written))
    if (newName === undefined)
      changes.push({ kind: 'gone', what, name, words: compareWords(words, NO_WORDS) })
    else {
      added.delete(newName)
      changes.push({ kind: 'renamed', what, name, newName, words: [] })
    }
  }
  for (const name of added)
    changes.push({ kind: 'new', what, name, words: compareWords(NO_WORDS, now.get(name) ?? NO_WORDS) })
  const order = (entries: Entries, others: Entries): readonly string[] =>
    [...entries.keys()].filter(name => others.has(name))
  const before = order(old, now)
  const after = order(now, old)
  const moved = after.find((name, index) => name !== before[index])
  if (moved !== undefined) changes.push({ kind: 'moved', what, name: moved, words: [] })
  return changes
}

/** Returns the words that differ, of nested objects one by one. */
function compareWords(old: Words, now: Words, path = ''): readonly ChangedWord[] {
  const words = [...new Set([...Object.keys(old.written), ...Object.keys(now.written)])]
  return words.flatMap(key => {
    const word = `${path}${key}`
    if (isDeepStrictEqual(old.written[key], now.written[key])) return []
    const [before, after] = [wordsIn(old, key), wordsIn(now, key)]
    if (before !== undefined && after !== undefined) return compareWords(before, after, `${word}.`)
    return [{ word, old: old.shown[key], new: now.shown[key] }]
  })
}

/** Returns the words of a nested object; undefined for another value, and for an object with keys that are secrets. */
function wordsIn({ written, shown }: Words, key: string): Words | undefined {
  const [inner, shownInner] = [written[key], shown[key]]
  if (!isFields(inner) || !isFields(shownInner)) return undefined
  const hasSecretKeys = Object.keys(inner).some(each => !Object.hasOwn(shownInner, each))
  return hasSecretKeys ? undefined : { written: inner, shown: shownInner }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
