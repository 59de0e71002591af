import type { Position } from '../core/errors.ts'

/** Path to a value, as names and indexes from the root. */
export type ValuePath = readonly (string | number)[]

/** Position in a file; empty for values of objects in code. */
export type SourcePosition = Pick<Position, 'file' | 'line' | 'column'>

export interface LocatedScalar {
  readonly kind: 'scalar'
  readonly position: SourcePosition
  readonly value: unknown
  /** True if the value could not be read. This was reported, so no further problems are. */
  readonly isUnreadable?: boolean | undefined
}

export interface LocatedList {
  readonly kind: 'list'
  readonly position: SourcePosition
  readonly items: readonly Located[]
}

export interface LocatedEntry {
  /** Position of the key. */
  readonly key: SourcePosition
  readonly value: Located
}

export interface LocatedMap {
  readonly kind: 'map'
  readonly position: SourcePosition
  readonly entries: ReadonlyMap<string, LocatedEntry>
}

/** A value of a policy with the positions of all its parts, which are kept by substitution and overlays. */
export type Located = LocatedScalar | LocatedList | LocatedMap

/** Returns the plain value. Objects have no prototype, so that keys of a file cannot reach one. */
export function toPlain(located: Located): unknown {
  if (located.kind === 'scalar') return located.value
  if (located.kind === 'list') return located.items.map(toPlain)
  const object: Record<string, unknown> = Object.create(null)
  for (const [key, entry] of located.entries) object[key] = toPlain(entry.value)
  return object
}

/**
 * Returns the position of a value, or with `at: 'key'` that of its key. If the path leads to no value, returns the
 * position of its last existing part.
 */
export function positionOf(root: Located, path: ValuePath, at: 'key' | 'value' = 'value'): SourcePosition {
  let here = root
  let position = root.position
  for (const [index, step] of path.entries()) {
    const entry = here.kind === 'map' ? here.entries.get(String(step)) : undefined
    const next = here.kind === 'list' ? here.items[Number(step)] : entry?.value
    if (next === undefined) break
    here = next
    position = entry !== undefined && at === 'key' && index === path.length - 1 ? entry.key : next.position
  }
  return position
}

/** Adds the paths of all values that could not be read to `found`. */
export function findUnreadablePaths(located: Located, path: ValuePath, found: ValuePath[]): void {
  if (located.kind === 'scalar') {
    if (located.isUnreadable) found.push(path)
  } else if (located.kind === 'list') {
    for (const [index, item] of located.items.entries()) findUnreadablePaths(item, [...path, index], found)
  } else for (const [key, { value }] of located.entries) findUnreadablePaths(value, [...path, key], found)
}

/** Formats a path as `rules[2].cost.topics["a/b"]`. */
export function formatPath(path: ValuePath): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_$][\w$-]*$/.test(step)) text += text === '' ? step : `.${step}`
    else text += `[${JSON.stringify(step)}]`
  }
  return text
}

/** Parses a path written by {@link formatPath}. */
export function parsePolicyPath(text: string): ValuePath {
  const path: (string | number)[] = []
  for (const [, name, index, quoted] of text.matchAll(/([^.[\]"]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]/g)) {
    if (name !== undefined) path.push(name)
    else path.push(index === undefined ? unescaped(quoted ?? '') : Number(index))
  }
  return path
}

function unescaped(text: string): string {
  try {
    return JSON.parse(`"${text}"`)
  } catch {
    return text
  }
}
