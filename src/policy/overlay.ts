import type { Problem } from '../core/errors.ts'
import {
  formatPath,
  type Located,
  type LocatedEntry,
  type LocatedList,
  type LocatedMap,
} from './source-positions.ts'

/** The lists of a policy whose entries are known by their name. */
const NAMED_LISTS: ReadonlySet<string> = new Set(['rules', 'exempt'])

/** Fields that say the same thing in two ways: an overlay that gives one means to replace the other. */
const RIVALS: ReadonlyMap<string, readonly string[]> = new Map([
  ['quota', ['limit', 'burst', 'initial', 'algorithm', 'maxSize']],
  ['limit', ['quota', 'window', 'zone', 'maxSize']],
  ['maxSize', ['limit', 'quota', 'burst', 'initial', 'algorithm', 'window', 'zone', 'per', 'cost']],
])

/**
 * Lays a policy over another: maps are merged deeply; of rules and exemptions those of the same name, field by
 * field, and new ones stand behind; all else is replaced. Every value keeps the place it was written at.
 */
export function overlay(base: Located, over: Located): Located {
  if (base.kind !== 'map' || over.kind !== 'map') return over
  return mergeMaps(base, over, (key, below, above) =>
    NAMED_LISTS.has(key) && below.kind === 'list' && above.kind === 'list'
      ? mergeNamed(below, above)
      : mergeDeeply(below, above),
  )
}

/** A problem for every entry of `rules` and `exempt` whose name an earlier one of the same source has. */
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
      const where = first.place.line === undefined ? '' : `, first in line ${first.place.line}`
      problems.push({
        ...name.at.place,
        path: formatPath([list, index, 'name']),
        message: `the name ${JSON.stringify(name.text)} stands twice${where}`,
        remedy: 'give each its own name: it is what state and reports go by',
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
  return { kind: 'map', place: base.place, entries }
}

function mergeDeeply(below: Located, above: Located): Located {
  if (below.kind !== 'map' || above.kind !== 'map') return above
  return mergeMaps(below, above, (_key, a, b) => mergeDeeply(a, b))
}

function mergeNamed(base: LocatedList, over: LocatedList): LocatedList {
  const items = [...base.items]
  const places = new Map<string, number>()
  items.forEach((item, index) => {
    const name = nameOf(item)
    if (name) places.set(name.text, index)
  })
  for (const item of over.items) {
    const name = nameOf(item)
    const index = name && places.get(name.text)
    const below = index === undefined ? undefined : items[index]
    if (index === undefined || below?.kind !== 'map' || item.kind !== 'map') items.push(item)
    else items[index] = mergeEntry(below, item)
  }
  return { kind: 'list', place: base.place, items }
}

function mergeEntry(base: LocatedMap, over: LocatedMap): LocatedMap {
  const replaced = new Set([...over.entries.keys()].flatMap(key => RIVALS.get(key) ?? []))
  const kept = [...base.entries].filter(([key]) => !replaced.has(key))
  return mergeMaps({ ...base, entries: new Map(kept) }, over, (_key, _below, above) => above)
}

function nameOf(entry: Located): { readonly text: string; readonly at: Located } | undefined {
  const at = entry.kind === 'map' ? entry.entries.get('name')?.value : undefined
  return at?.kind === 'scalar' && typeof at.value === 'string' ? { text: at.value, at } : undefined
}
