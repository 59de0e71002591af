import type { FieldPath } from '../conditions/payload-field.ts'

type Fields = Record<string | number, unknown>

/** Copies only the fields at `paths`, in their nesting. The copies have no prototype. */
export function keepFields(payload: object, paths: readonly FieldPath[]): object {
  const kept: Fields = Object.create(null) as Fields
  for (const path of paths) keep(payload, kept, path, 0)
  return kept
}

function keep(from: object, to: Fields, path: FieldPath, depth: number): void {
  const name = path[depth]!
  if (!Object.hasOwn(from, name)) return
  const value = (from as Fields)[name]
  if (depth === path.length - 1) {
    to[name] = value
    return
  }
  if (!isObject(value)) return
  const inner = Object.hasOwn(to, name) ? to[name] : Object.create(null)
  to[name] = inner
  // Another path already keeps it whole.
  if (inner !== value) keep(value, inner as Fields, path, depth + 1)
}

/** Copies a payload without the fields at `paths`. Parts outside the paths are shared, not copied. */
export function stripFields(payload: object, paths: readonly FieldPath[]): object {
  let stripped = payload
  for (const path of paths) stripped = strip(stripped, path, 0)
  return stripped
}

function strip(from: object, path: FieldPath, depth: number): object {
  const name = path[depth]!
  if (!Object.hasOwn(from, name)) return from
  const copy = Object.assign(Object.create(null), from) as Fields
  const value = copy[name]
  if (depth === path.length - 1) delete copy[name]
  else if (isObject(value)) copy[name] = strip(value, path, depth + 1)
  return copy
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
