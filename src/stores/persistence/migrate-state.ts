import { countAlike, type Limit, startsBelowFull } from '../../algorithms/limit.ts'

/** Numbers of a rule that came into force at a moment. */
export interface Change {
  readonly limit: Limit | undefined
  readonly sinceMs: number
}

/** Cells of a key never seen. */
export function freshCells(limit: Limit, nowMs: number): Float64Array {
  const cells = emptyCells(limit)
  limit.kernel.begin?.(cells, 0, nowMs, limit)
  return cells
}

/** The time from which a key may be forgotten; Infinity for a limit whose unseen keys are not full. */
export function forgettableAt(cells: Float64Array, limit: Limit): number {
  return startsBelowFull(limit) ? Infinity : limit.kernel.wholeAt(cells, 0, limit)
}

/**
 * Carries cells written under old numbers of a rule through later changes, each from its moment on: what was used then
 * stays used. The cells may be changed in place. Undefined for a key that equals one never seen, or whose algorithm is
 * not there.
 */
export function migrateState(
  cells: Float64Array,
  old: Limit | undefined,
  changes: readonly Change[],
): Float64Array | undefined {
  let carried: Float64Array | undefined = old && cells
  let before = old
  for (const { limit, sinceMs } of changes) {
    carried = carried && before && limit && carryOnce(carried, before, limit, sinceMs)
    before = limit
  }
  return carried
}

function carryOnce(cells: Float64Array, old: Limit, limit: Limit, sinceMs: number): Float64Array | undefined {
  const atMs = Math.max(cells[0] ?? 0, sinceMs)
  const isSameKernel = old.kernel === limit.kernel
  // Keys of a limit that starts full are forgotten when they are full: none of them counts as seen by the other limit.
  if ((startsBelowFull(limit) && !startsBelowFull(old)) || !isSameKernel) {
    if (old.kernel.wholeAt(cells, 0, old) <= atMs) return undefined
  }
  if (countAlike(old, limit)) return cells
  if (isSameKernel) {
    limit.kernel.carry(cells, 0, atMs, old, limit)
    return cells
  }
  const units = old.kernel.spent(cells, 0, atMs, old) / old.scale
  const carried = emptyCells(limit)
  limit.kernel.seed(carried, 0, atMs, Math.ceil(units * limit.scale), limit)
  return carried
}

function emptyCells({ kernel }: Limit): Float64Array {
  return kernel.room?.(undefined) ?? new Float64Array(kernel.width)
}
