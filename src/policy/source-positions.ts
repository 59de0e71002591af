import type { Position } from '../core/errors.ts'

/** The way to a value, as names and indexes from the root. */
export type Path = readonly (string | number)[]

/** A place in a file; empty for values that were given as objects in code. */
export type Place = Pick<Position, 'file' | 'line' | 'column'>

export interface LocatedScalar {
  readonly kind: 'scalar'
  readonly place: Place
  readonly value: unknown
  /** True where it could not be read, which was reported: nothing more is to be said of it. */
  readonly unread?: boolean | undefined
}

export interface LocatedList {
  readonly kind: 'list'
  readonly place: Place
  readonly items: readonly Located[]
}

export interface LocatedEntry {
  /** Where the key stands. */
  readonly key: Place
  readonly value: Located
}

export interface LocatedMap {
  readonly kind: 'map'
  readonly place: Place
  readonly entries: ReadonlyMap<string, LocatedEntry>
}

/** A value of a policy together with its place, part by part; survives substitution and overlays. */
export type Located = LocatedScalar | LocatedList | LocatedMap

/** The plain value. Objects have no prototype, so that no key a file holds can mean more than a key. */
export function toPlain(located: Located): unknown {
  if (located.kind === 'scalar') return located.value
  if (located.kind === 'list') return located.items.map(toPlain)
  const object: Record<string, unknown> = Object.create(null)
  for (const [key, entry] of located.entries) object[key] = toPlain(entry.value)
  return object
}

/**
 * Where a value stands, or its key with `at: 'key'`. Of a path that leads to nothing, the place of the last part
 * that is there: what is missing is missed in its parent.
 */
export function placeOf(root: Located, path: Path, at: 'key' | 'value' = 'value'): Place {
  let here = root
  let place = root.place
  for (const [index, step] of path.entries()) {
    const entry = here.kind === 'map' ? here.entries.get(String(step)) : undefined
    const next = here.kind === 'list' ? here.items[Number(step)] : entry?.value
    if (next === undefined) break
    here = next
    place = entry !== undefined && at === 'key' && index === path.length - 1 ? entry.key : next.place
  }
  return place
}

/** The paths of all values that could not be read. */
export function unreadPaths(located: Located, path: Path = []): readonly Path[] {
  if (located.kind === 'scalar') return located.unread ? [path] : []
  if (located.kind === 'list')
    return located.items.flatMap((item, index) => unreadPaths(item, [...path, index]))
  return [...located.entries].flatMap(([key, { value }]) => unreadPaths(value, [...path, key]))
}

/** `rules[2].cost.topics["a/b"]`, of its parts. */
export function formatPath(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_$][\w$-]*$/.test(step)) text += text === '' ? step : `.${step}`
    else text += `[${JSON.stringify(step)}]`
  }
  return text
}

/** The parts of a path as {@link formatPath} writes it. */
export function parsePath(text: string): Path {
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
