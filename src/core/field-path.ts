/** Property names and list indexes, from the root of a value. */
export type FieldPath = readonly (string | number)[]

/**
 * Returns the field of a value; undefined if it is absent. Follows own properties only, so that no name reaches a
 * prototype. Names are for objects, indexes for lists.
 */
export function readField(root: unknown, path: FieldPath): unknown {
  let value = root
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined
    if (Array.isArray(value) !== (typeof step === 'number')) return undefined
    if (!Object.hasOwn(value, step)) return undefined
    value = (value as Record<string | number, unknown>)[step]
  }
  return value
}
