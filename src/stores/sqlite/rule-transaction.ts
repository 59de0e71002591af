import type { Limit } from '../../algorithms/limit-types.ts'
import { decodeCells, encodeCells } from '../persistence/encode-cells.ts'
import { fingerprintLimit, parseLimitFingerprint } from '../persistence/limit-fingerprint.ts'
import {
  appendToLimitHistory,
  findLimitChanges,
  type LimitHistory,
  type LimitHistoryEntry,
} from '../persistence/limit-history-for-migration.ts'
import {
  forgettableAt,
  freshCells,
  type LimitActiveSince,
  migrateState,
} from '../persistence/migrate-state.ts'
import { decodeText, encodeSqliteText } from './encode-text.ts'
import {
  type KeyedRow,
  type RuleRow,
  type Statements,
  type StateRow,
  type StoredKey,
  withBindableKeys,
} from './statements.ts'

/** Key of the shared counter of a rule full of keys that refuse; numbers sort before all text and bytes. */
export const OVERFLOW_KEY = 0

export type Key = string | typeof OVERFLOW_KEY

/** Expiry of keys that are kept until their rule has too many. */
export const NEVER_MS = Number.MAX_SAFE_INTEGER

/** State of a key within one transaction. */
export interface TransactionKeyState {
  readonly key: Key
  readonly limit: Limit
  cells: Float64Array
  refusedUntilMs: number
  readonly isStored: boolean
  /** True if the key equals an unseen one, though it may be stored. */
  readonly isUnseen: boolean
  hasChanged: boolean
}

/** Keys of one rule within one transaction; each is read once and written once. */
export class RuleTransaction {
  readonly name: string
  /** Number of keys, including unwritten ones. */
  keys: number
  readonly #statements: Statements
  readonly #row: RuleRow | undefined
  #history: LimitHistory
  #hasChanged = false
  readonly #entries = new Map<Key, TransactionKeyState>()

  constructor(statements: Statements, name: string) {
    this.name = name
    this.#statements = statements
    this.#row = statements.findRule.get(encodeSqliteText(name), 1) as RuleRow | undefined
    this.#history = this.#row === undefined ? [] : parseRuleHistory(this.#row)
    this.keys = this.#row?.keys ?? 0
  }

  /** Makes these numbers of the rule active from now on. */
  adopt(limit: Limit, nowMs: number): void {
    const history = appendToLimitHistory(this.#history, { text: fingerprintLimit(limit), sinceMs: nowMs })
    if (history === this.#history) return
    this.#history = history
    this.#hasChanged = true
  }

  /** Returns the state of a key, migrated if it was written under other numbers. Only with `isMutable` may it be changed. */
  entry(key: Key, limit: Limit, nowMs: number, isMutable: boolean): TransactionKeyState {
    const known = this.#entries.get(key)
    if (known?.limit === limit) return known
    const entry = known === undefined ? this.#read(key, limit, nowMs) : this.#migrate(known, limit, nowMs)
    if (isMutable) this.#entries.set(key, entry)
    return entry
  }

  /** Marks an entry to be written. */
  touch(entry: TransactionKeyState): void {
    if (isNewKey(entry) && entry.key !== OVERFLOW_KEY) this.keys++
    entry.hasChanged = true
  }

  /** Returns the keys after one in file order, without those used by this transaction. */
  after(key: StoredKey, maxRows: number): KeyedRow[] {
    if (this.#row === undefined) return []
    return withBindableKeys(this.#statements.after.all(this.#row.id, key, maxRows))
  }

  /** Returns true if this transaction uses a stored key. */
  isInUse(key: StoredKey): boolean {
    return this.#entries.has(typeof key === 'number' ? OVERFLOW_KEY : decodeText(key))
  }

  /** Removes a stored key that this transaction does not use. */
  remove(key: StoredKey): void {
    this.#statements.remove.run(this.#row!.id, key)
    this.keys--
  }

  /** Forgets a stored key; returns true if it existed. */
  forget(key: string): boolean {
    if (this.#row === undefined) return false
    const kept = encodeSqliteText(key)
    if (this.#statements.find.get(this.#row.id, kept) === undefined) return false
    this.remove(kept)
    return true
  }

  /** Detaches all keys from the rule's name in constant time; the sweep removes them. Returns how many. */
  detachKeys(): number {
    if (this.#row === undefined) return 0
    this.#statements.detachKeys.run(encodeSqliteText(this.name), this.#row.id)
    return this.#row.keys
  }

  /** Returns the entry of a row under a limit. */
  open(key: Key, row: StateRow, limit: Limit, nowMs: number): TransactionKeyState {
    const cells = decodeCells(row.cells)
    const old = row.limits === fingerprintLimit(limit) ? limit : parseLimitFingerprint(row.limits, limit)
    const changes = this.#changesOf(row.limits, cells, limit, nowMs)
    const migrated = migrateState(cells, old, changes)
    return {
      key,
      limit,
      cells: migrated ?? freshCells(limit, nowMs),
      refusedUntilMs: changes.length === 0 ? row.refused_until : 0,
      isStored: true,
      isUnseen: migrated === undefined,
      hasChanged: false,
    }
  }

  /** Writes all changes. */
  write(): void {
    const changed = [...this.#entries.values()].filter(entry => entry.hasChanged)
    if (this.#row === undefined && changed.length === 0) return
    const statements = this.#statements
    let row = this.#row
    if (row === undefined) {
      const name = encodeSqliteText(this.name)
      const [text, sinceMs, past] = rowOf(this.#history)
      statements.addRule.run(name, text, sinceMs, past)
      row = statements.findRule.get(name, 1) as RuleRow
    }
    if (this.#hasChanged || this.keys !== row.keys) {
      const [text, sinceMs, past] = rowOf(this.#history)
      statements.changeRule.run(text, sinceMs, past, this.keys, row.id)
    }
    for (const { key, limit, cells, refusedUntilMs, isStored } of changed) {
      const statement = isStored ? statements.change : statements.add
      const fullAtMs = Math.min(forgettableAt(cells, limit), NEVER_MS)
      const kept = key === OVERFLOW_KEY ? key : encodeSqliteText(key)
      statement.run(fingerprintLimit(limit), encodeCells(cells), fullAtMs, refusedUntilMs, row.id, kept)
    }
  }

  #read(key: Key, limit: Limit, nowMs: number): TransactionKeyState {
    const kept = key === OVERFLOW_KEY ? key : encodeSqliteText(key)
    const row = this.#row && (this.#statements.find.get(this.#row.id, kept) as StateRow | undefined)
    if (row !== undefined) return this.open(key, row, limit, nowMs)
    const cells = freshCells(limit, nowMs)
    return { key, limit, cells, refusedUntilMs: 0, isStored: false, isUnseen: true, hasChanged: false }
  }

  #migrate(entry: TransactionKeyState, limit: Limit, nowMs: number): TransactionKeyState {
    if (isNewKey(entry)) return { ...entry, limit, cells: freshCells(limit, nowMs) }
    const cells = Float64Array.from(entry.cells)
    const changes = this.#changesOf(fingerprintLimit(entry.limit), cells, limit, nowMs)
    const migrated = migrateState(cells, entry.limit, changes)
    return { ...entry, limit, isUnseen: migrated === undefined, cells: migrated ?? freshCells(limit, nowMs) }
  }

  /** Returns the changes still to apply to cells written under `text`. */
  #changesOf(text: string, cells: Float64Array, limit: Limit, nowMs: number): readonly LimitActiveSince[] {
    const numbers = fingerprintLimit(limit)
    return findLimitChanges(
      appendToLimitHistory(this.#history, { text: numbers, sinceMs: nowMs }),
      text,
      cells[0] ?? 0,
    ).map(each => ({
      limit: each.text === numbers ? limit : parseLimitFingerprint(each.text, limit),
      sinceMs: Math.min(each.sinceMs, nowMs),
    }))
  }
}

/** Parses the history of a rule from its row. */
export function parseRuleHistory({
  limits,
  since,
  past,
}: Pick<RuleRow, 'limits' | 'since' | 'past'>): LimitHistory {
  const before = JSON.parse(past) as (readonly [string, number])[]
  const periods: LimitHistoryEntry[] = before.map(([text, sinceMs]) => ({ text, sinceMs }))
  return [...periods, { text: limits, sinceMs: since }]
}

function rowOf(history: LimitHistory): readonly [text: string, sinceMs: number, past: string] {
  const { text, sinceMs } = history.at(-1) ?? { text: '', sinceMs: 0 }
  return [text, sinceMs, JSON.stringify(history.slice(0, -1).map(each => [each.text, each.sinceMs]))]
}

/** Returns true if a key is not in the file, neither now nor at the end of the transaction. */
export function isNewKey(entry: TransactionKeyState): boolean {
  return !entry.isStored && !entry.hasChanged
}
