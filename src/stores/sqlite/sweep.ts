import type { Limit } from '../../algorithms/limit.ts'
import { decodeCells, encodeCells } from '../persistence/encode-cells.ts'
import { limitOf } from '../persistence/limit-fingerprint.ts'
import { changesAfter } from '../persistence/limit-history.ts'
import { forgettableAt, migrateState } from '../persistence/migrate-state.ts'
import { historyOf, NEVER_MS } from './rule-state.ts'
import { type KeptKey, keyed, type Statements, type StateRow, type SweptRow } from './statements.ts'

/** Where a sweep has come to. */
export interface SweepPlace {
  readonly rule: number
  readonly key: KeptKey
}

/** Rules begin at 1, so this stands before all keys. */
export const START: SweepPlace = { rule: 0, key: 0 }

/** What a slice found: how many rows went, and where the next one begins. */
export interface Swept {
  readonly rows: number
  readonly removed: number
  readonly next: SweepPlace
}

/** One slice of a pass over all keys: those that are whole or were forgotten go. */
export function sweep(statements: Statements, place: SweepPlace, nowMs: number, most: number): Swept {
  const rows = keyed<SweptRow>(statements.sweep.all(place.rule, place.key, most))
  const removed = new Map<number, number>()
  const limits = new Map<string, Limit | undefined>()
  const limitFor = (text: string): Limit | undefined => {
    if (!limits.has(text)) limits.set(text, limitOf(text))
    return limits.get(text)
  }
  let count = 0
  for (const row of rows) {
    if (row.forgotten === 0) {
      const mayBeOutdated = row.limits !== row.now || row.past !== NO_PAST
      if (row.whole_at > nowMs && !(mayBeOutdated && row.whole_at === NEVER_MS)) continue
      if (mayBeOutdated && outlasts(statements, row, limitFor, nowMs)) continue
    }
    statements.remove.run(row.rule, row.key)
    count++
    if (typeof row.key !== 'number') removed.set(row.rule, (removed.get(row.rule) ?? 0) + 1)
  }
  for (const [rule, keys] of removed) statements.countKeys.run(-keys, rule)
  const last = rows.at(-1)
  if (rows.length === most && last !== undefined) return { rows: most, removed: count, next: last }
  statements.dropEmptyRules.run()
  return { rows: rows.length, removed: count, next: START }
}

const NO_PAST = '[]'

/** Carries a key over where its rule's numbers have changed since; false where it is whole all the same. */
function outlasts(
  statements: Statements,
  row: SweptRow,
  limitFor: (text: string) => Limit | undefined,
  nowMs: number,
): boolean {
  const kept = decodeCells((statements.find.get(row.rule, row.key) as StateRow).cells)
  const periods = changesAfter(historyOf({ ...row, limits: row.now }), row.limits, kept[0] ?? 0)
  if (periods.length === 0) return row.whole_at > nowMs
  const changes = periods.map(({ text, sinceMs }) => ({ limit: limitFor(text), sinceMs }))
  const limit = limitFor(row.now)
  const cells = limit && migrateState(kept, limitFor(row.limits), changes)
  if (limit === undefined || cells === undefined) return false
  const wholeAtMs = Math.min(forgettableAt(cells, limit), NEVER_MS)
  if (wholeAtMs <= nowMs) return false
  statements.change.run(row.now, encodeCells(cells), wholeAtMs, 0, row.rule, row.key)
  return true
}
