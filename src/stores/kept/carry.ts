import { type Limit, startsBelowFull } from '../../algorithms/limit.ts'
import { keepsCells } from '../memory/table.ts'

/** Cells of a key never seen. */
export function freshCells(limit: Limit, nowMs: number): Float64Array {
  const cells = emptyCells(limit)
  limit.kernel.begin?.(cells, 0, nowMs, limit)
  return cells
}

/** Cells of a key that was seen and is full again. */
export function fullCells(limit: Limit, nowMs: number): Float64Array {
  const cells = emptyCells(limit)
  if (startsBelowFull(limit)) limit.kernel.seed(cells, 0, nowMs, 0, limit)
  return cells
}

/** The time from which a key may be forgotten; Infinity for a limit whose unseen keys are not full. */
export function forgettableAt(cells: Float64Array, limit: Limit): number {
  return startsBelowFull(limit) ? Infinity : limit.kernel.wholeAt(cells, 0, limit)
}

/**
 * Cells written under other numbers of the same rule, as they are under `limit`, which was adopted at `sinceMs`:
 * what was used at that moment stays used. Undefined for a key that was whole then, or whose algorithm is not there.
 */
export function carryOver(
  cells: Float64Array,
  old: Limit | undefined,
  limit: Limit,
  sinceMs: number,
): Float64Array | undefined {
  if (old === undefined) return undefined
  if (keepsCells(old, limit)) return cells
  const atMs = Math.max(cells[0] ?? 0, sinceMs)
  if (old.kernel.wholeAt(cells, 0, old) <= atMs) return undefined
  const units = old.kernel.spent(cells, 0, atMs, old) / old.scale
  const carried = emptyCells(limit)
  limit.kernel.seed(carried, 0, atMs, Math.ceil(units * limit.scale), limit)
  return carried
}

function emptyCells({ kernel }: Limit): Float64Array {
  return kernel.room?.(undefined) ?? new Float64Array(kernel.width)
}
