import type { RefusalEvent } from '../api/types.ts'

/** Refusals of one sender for the same reason, shown as one row. */
export interface RefusalRow extends RefusalEvent {
  /** Stays the same while the row is updated. */
  readonly key: string
}

const ROWS_KEPT = 40
/** A later refusal begins a row of its own. */
const SAME_ROW_MS = 30_000

/**
 * Adds a refusal: to the row of the same sender, rule and outcome if it is recent, else as a new row on top. Why: rows that
 * move with each of twenty refusals a second could not be read or clicked.
 */
export function addRefusal(rows: readonly RefusalRow[], refusal: RefusalEvent): readonly RefusalRow[] {
  const place = rows.findIndex(row => isSame(row, refusal) && refusal.atMs - row.lastAtMs < SAME_ROW_MS)
  const row = rows[place]
  if (row === undefined) {
    const key = `${refusal.sender} ${refusal.rule} ${refusal.atMs}`
    return [{ ...refusal, key }, ...rows].slice(0, ROWS_KEPT)
  }
  return rows.with(place, { ...refusal, key: row.key, atMs: row.atMs, count: row.count + refusal.count })
}

function isSame(row: RefusalRow, { sender, rule, reason, outcome }: RefusalEvent): boolean {
  return row.sender === sender && row.rule === rule && row.reason === reason && row.outcome === outcome
}
