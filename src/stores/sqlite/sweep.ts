import type { Limit } from '../../algorithms/limit-types.ts'
import { decodeCells, encodeCells } from '../persistence/encode-cells.ts'
import { parseLimitFingerprint } from '../persistence/limit-fingerprint.ts'
import { findLimitChanges } from '../persistence/limit-history-for-migration.ts'
import { forgettableAt, migrateState } from '../persistence/migrate-state.ts'
import { NEVER_MS, parseRuleHistory } from './rule-transaction.ts'
import {
  type Statements,
  type StateRow,
  type StoredKey,
  type SweepRow,
  withBindableKeys,
} from './statements.ts'

/** Position of a sweep. */
export interface SweepPosition {
  readonly rule: number
  readonly key: StoredKey
}

/** Position before all keys, because rules begin at 1. */
export const SWEEP_START: SweepPosition = { rule: 0, key: 0 }

/** Result of a slice: the number of removed rows, and the position of the next slice. */
export interface Swept {
  readonly rows: number
  readonly removed: number
  readonly next: SweepPosition
}

/** Sweeps one slice: removes keys that are full or forgotten. */
export function sweep(
  statements: Statements,
  position: SweepPosition,
  nowMs: number,
  maxRows: number,
): Swept {
  const rows = withBindableKeys<SweepRow>(statements.sweep.all(position.rule, position.key, maxRows))
  const removed = new Map<number, number>()
  const limits = new Map<string, Limit | undefined>()
  const limitFor = (text: string): Limit | undefined => {
    if (!limits.has(text)) limits.set(text, parseLimitFingerprint(text))
    return limits.get(text)
  }
  let count = 0
  for (const row of rows) {
    if (row.forgotten === 0) {
      const mayBeOutdated = row.limits !== row.now || row.past !== NO_PAST
      if (row.whole_at > nowMs && !(mayBeOutdated && row.whole_at === NEVER_MS)) continue
      if (mayBeOutdated && isStillNeeded(statements, row, limitFor, nowMs)) continue
    }
    statements.remove.run(row.rule, row.key)
    count++
    if (typeof row.key !== 'number') removed.set(row.rule, (removed.get(row.rule) ?? 0) + 1)
  }
  for (const [rule, keys] of removed) statements.countKeys.run(-keys, rule)
  const last = rows.at(-1)
  if (rows.length === maxRows && last !== undefined) return { rows: maxRows, removed: count, next: last }
  statements.dropEmptyRules.run()
  return { rows: rows.length, removed: count, next: SWEEP_START }
}

const NO_PAST = '[]'

/** Migrates a key if its rule's numbers have changed; returns false if it is full anyway. */
function isStillNeeded(
  statements: Statements,
  row: SweepRow,
  limitFor: (text: string) => Limit | undefined,
  nowMs: number,
): boolean {
  const kept = decodeCells((statements.find.get(row.rule, row.key) as StateRow).cells)
  const periods = findLimitChanges(parseRuleHistory({ ...row, limits: row.now }), row.limits, kept[0] ?? 0)
  if (periods.length === 0) return row.whole_at > nowMs
  const changes = periods.map(({ text, sinceMs }) => ({ limit: limitFor(text), sinceMs }))
  const limit = limitFor(row.now)
  const cells = limit && migrateState(kept, limitFor(row.limits), changes)
  if (limit === undefined || cells === undefined) return false
  const fullAtMs = Math.min(forgettableAt(cells, limit), NEVER_MS)
  if (fullAtMs <= nowMs) return false
  statements.change.run(row.now, encodeCells(cells), fullAtMs, 0, row.rule, row.key)
  return true
}
