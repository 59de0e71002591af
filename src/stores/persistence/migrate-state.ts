import { haveSameStateFormat, type Limit, startsBelowFull } from '../../algorithms/limit-types.ts'

/** Numbers of a rule and the time from which they are active. */
export interface LimitActiveSince {
  readonly limit: Limit | undefined
  readonly sinceMs: number
}

/** Returns the cells of an unseen key. */
export function freshCells(limit: Limit, nowMs: number): Float64Array {
  const cells = emptyCells(limit)
  limit.kernel.initialize?.(cells, 0, nowMs, limit)
  return cells
}

/** Returns the time from which a key may be forgotten; Infinity for a limit whose unseen keys are not full. */
export function forgettableAt(cells: Float64Array, limit: Limit): number {
  return startsBelowFull(limit) ? Infinity : limit.kernel.fullAtMs(cells, 0, limit)
}

/**
 * Migrates cells through all later changes of a rule, each from its time on. Used units stay used. May change the
 * cells in place. Returns undefined for a key that equals an unseen one, or whose algorithm is unknown.
 */
export function migrateState(
  cells: Float64Array,
  old: Limit | undefined,
  changes: readonly LimitActiveSince[],
): Float64Array | undefined {
  let migrated: Float64Array | undefined = old && cells
  let before = old
  for (const { limit, sinceMs } of changes) {
    migrated = migrated && before && limit && migrateOnce(migrated, before, limit, sinceMs)
    before = limit
  }
  return migrated
}

function migrateOnce(
  cells: Float64Array,
  old: Limit,
  limit: Limit,
  sinceMs: number,
): Float64Array | undefined {
  const atMs = Math.max(cells[0] ?? 0, sinceMs)
  const isSameKernel = old.kernel === limit.kernel
  // Full keys of a limit that starts full were forgotten, so the other limit treats none of them as seen.
  if ((startsBelowFull(limit) && !startsBelowFull(old)) || !isSameKernel) {
    if (old.kernel.fullAtMs(cells, 0, old) <= atMs) return undefined
  }
  if (haveSameStateFormat(old, limit)) return cells
  if (isSameKernel) {
    limit.kernel.migrate(cells, 0, atMs, old, limit)
    return cells
  }
  const units = old.kernel.usedGrains(cells, 0, atMs, old) / old.scale
  const migrated = emptyCells(limit)
  limit.kernel.setUsed(migrated, 0, atMs, Math.ceil(units * limit.scale), limit)
  return migrated
}

function emptyCells({ kernel }: Limit): Float64Array {
  return kernel.growCells?.(undefined) ?? new Float64Array(kernel.width)
}
