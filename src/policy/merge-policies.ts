import type { Problem } from '../core/errors.ts'
import {
  formatPath,
  type Located,
  type LocatedEntry,
  type LocatedList,
  type LocatedMap,
} from './source-positions.ts'

/** Lists of a policy whose entries are identified by name. */
const NAMED_LISTS: ReadonlySet<string> = new Set(['rules', 'exempt'])

/** Fields of rules that count. */
const COUNTED = ['limit', 'quota', 'burst', 'initial', 'algorithm', 'window', 'zone', 'cost'] as const

/** Mutually exclusive fields: an overlay with one of them removes the others. */
const EXCLUSIVE_FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['quota', ['limit', 'burst', 'initial', 'algorithm', 'maxSize', 'unchanged', 'upTo']],
  ['limit', ['quota', 'window', 'zone', 'maxSize', 'unchanged', 'upTo']],
  ['maxSize', [...COUNTED, 'per', 'unchanged', 'upTo']],
  ['unchanged', [...COUNTED, 'maxSize', 'exceeded', 'message', 'penalties', 'warn', 'fallback']],
])

/**
 * Merges a policy into another. Maps are merged deeply; rules and exemptions of the same name field by field, new ones
 * are appended; other values are replaced. Every value keeps its source position.
 */
export function mergePolicies(base: Located, over: Located): Located {
  if (base.kind !== 'map' || over.kind !== 'map') return over
  return mergeMaps(base, over, (key, below, above) =>
    NAMED_LISTS.has(key) && below.kind === 'list' && above.kind === 'list'
      ? mergeNamed(below, above)
      : mergeDeeply(below, above),
  )
}

/** Finds entries of `rules` and `exempt` that repeat a name of the same source. */
export function findDuplicateNames(root: Located): readonly Problem[] {
  const problems: Problem[] = []
  if (root.kind !== 'map') return problems
  for (const list of NAMED_LISTS) {
    const entries = root.entries.get(list)?.value
    if (entries?.kind !== 'list') continue
    const seen = new Map<string, Located>()
    for (const [index, entry] of entries.items.entries()) {
      const name = nameOf(entry)
      if (name === undefined) continue
      const first = seen.get(name.text)
      if (!first) {
        seen.set(name.text, name.at)
        continue
      }
      const where = first.position.line === undefined ? '' : `, first in line ${first.position.line}`
      problems.push({
        ...name.at.position,
        path: formatPath([list, index, 'name']),
        message: `the name ${JSON.stringify(name.text)} is used twice${where}`,
        remedy: 'give each its own name, which identifies its state and reports',
      })
    }
  }
  return problems
}

type Merge = (key: string, below: Located, above: Located) => Located

function mergeMaps(base: LocatedMap, over: LocatedMap, merge: Merge): LocatedMap {
  const entries = new Map<string, LocatedEntry>(base.entries)
  for (const [key, entry] of over.entries) {
    const below = entries.get(key)
    entries.set(key, below ? { key: entry.key, value: merge(key, below.value, entry.value) } : entry)
  }
  return { kind: 'map', position: base.position, entries }
}

function mergeDeeply(below: Located, above: Located): Located {
  if (below.kind !== 'map' || above.kind !== 'map') return above
  return mergeMaps(below, above, (_key, a, b) => mergeDeeply(a, b))
}

function mergeNamed(base: LocatedList, over: LocatedList): LocatedList {
  const items = [...base.items]
  const indexes = new Map<string, number>()
  items.forEach((item, index) => {
    const name = nameOf(item)
    if (name) indexes.set(name.text, index)
  })
  for (const item of over.items) {
    const name = nameOf(item)
    const index = name && indexes.get(name.text)
    const below = index === undefined ? undefined : items[index]
    if (index === undefined || below?.kind !== 'map' || item.kind !== 'map') items.push(item)
    else items[index] = mergeEntry(below, item)
  }
  return { kind: 'list', position: base.position, items }
}

function mergeEntry(base: LocatedMap, over: LocatedMap): LocatedMap {
  const replaced = new Set([...over.entries.keys()].flatMap(key => EXCLUSIVE_FIELDS.get(key) ?? []))
  const kept = [...base.entries].filter(([key]) => !replaced.has(key))
  return mergeMaps({ ...base, entries: new Map(kept) }, over, (_key, _below, above) => above)
}

function nameOf(entry: Located): { readonly text: string; readonly at: Located } | undefined {
  const at = entry.kind === 'map' ? entry.entries.get('name')?.value : undefined
  return at?.kind === 'scalar' && typeof at.value === 'string' ? { text: at.value, at } : undefined
}
