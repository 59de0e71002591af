import { AdminProblem } from './problem.ts'

/** A page of a list. */
export interface Page<T> {
  readonly items: readonly T[]
  readonly total: number
  /** Cursor of the next page; null on the last. */
  readonly next: string | null
}

/**
 * Returns the page after a cursor, which is the id of the last item of the page before. If that item is gone, the list
 * has to be read again: throws AdminProblem with status 409.
 */
export function pageOf<T>(
  all: readonly T[],
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
  idOf: (item: T) => string,
): Page<T> {
  let first = 0
  if (cursor !== undefined) {
    first = all.findIndex(item => idOf(item) === cursor) + 1
    if (first === 0) throw new AdminProblem(409, 'the entry of the cursor is gone: read the list again')
  }
  const items = all.slice(first, first + limit)
  const last = items.at(-1)
  const isLast = last === undefined || first + limit >= all.length
  return { items, total: all.length, next: isLast ? null : idOf(last) }
}
