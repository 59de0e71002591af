import type { Limit } from '../../algorithms/limit.ts'
import { decodeCells, encodeCells } from '../persistence/encode-cells.ts'
import { describeNumbers, limitOf } from '../persistence/limit-fingerprint.ts'
import { changesAfter, type History, type Period, withChange } from '../persistence/limit-history.ts'
import { type Change, forgettableAt, freshCells, migrateState } from '../persistence/migrate-state.ts'
import { decodeText, encodeText } from './encoding.ts'
import {
  type KeptKey,
  type KeyedRow,
  keyed,
  type RuleRow,
  type Statements,
  type StateRow,
} from './statements.ts'

/** Where keys share a counter when a rule is full of keys that all refuse; numbers stand before all text and bytes. */
export const OVERFLOW_KEY = 0

export type Key = string | typeof OVERFLOW_KEY

/** In the place of a time: the key is kept until its rule has too many. */
export const NEVER_MS = Number.MAX_SAFE_INTEGER

/** A key's state within one transaction. */
export interface StateEntry {
  readonly key: Key
  readonly limit: Limit
  cells: Float64Array
  refusedUntilMs: number
  readonly isStored: boolean
  /** Whether the key equals one never seen, though it may be stored. */
  readonly isUnseen: boolean
  hasChanged: boolean
}

/** The keys of one rule within one transaction: each is read once and written once. */
export class RuleState {
  readonly name: string
  /** How many there are, with those not yet written. */
  keys: number
  readonly #statements: Statements
  readonly #row: RuleRow | undefined
  #history: History
  #hasChanged = false
  readonly #entries = new Map<Key, StateEntry>()

  constructor(statements: Statements, name: string) {
    this.name = name
    this.#statements = statements
    this.#row = statements.findRule.get(encodeText(name), 1) as RuleRow | undefined
    this.#history = this.#row === undefined ? [] : historyOf(this.#row)
    this.keys = this.#row?.keys ?? 0
  }

  /** From now on the rule counts by these numbers. */
  adopt(limit: Limit, nowMs: number): void {
    const history = withChange(this.#history, { text: describeNumbers(limit), sinceMs: nowMs })
    if (history === this.#history) return
    this.#history = history
    this.#hasChanged = true
  }

  /** The state of a key, carried over where it was written under other numbers. With `keep` it may be changed. */
  entry(key: Key, limit: Limit, nowMs: number, keep: boolean): StateEntry {
    const held = this.#entries.get(key)
    if (held?.limit === limit) return held
    const entry = held === undefined ? this.#read(key, limit, nowMs) : this.#renumber(held, limit, nowMs)
    if (keep) this.#entries.set(key, entry)
    return entry
  }

  /** Notes that an entry is to be written. */
  touch(entry: StateEntry): void {
    if (isNew(entry) && entry.key !== OVERFLOW_KEY) this.keys++
    entry.hasChanged = true
  }

  /** Keys that stand after one in the file, in their order; none of those in use by this transaction. */
  after(key: KeptKey, most: number): KeyedRow[] {
    if (this.#row === undefined) return []
    return keyed(this.#statements.after.all(this.#row.id, key, most))
  }

  /** Whether this transaction has looked at a key that stands in the file. */
  isInUse(key: KeptKey): boolean {
    return this.#entries.has(typeof key === 'number' ? OVERFLOW_KEY : decodeText(key))
  }

  /** Removes a key that stands in the file and is not in use. */
  remove(key: KeptKey): void {
    this.#statements.remove.run(this.#row!.id, key)
    this.keys--
  }

  /** Forgets a key of the file; true when it was there. */
  forget(key: string): boolean {
    if (this.#row === undefined) return false
    const kept = encodeText(key)
    if (this.#statements.find.get(this.#row.id, kept) === undefined) return false
    this.remove(kept)
    return true
  }

  /** Cuts all keys off from the rule's name, however many they are; the sweep removes them. Returns how many. */
  cutOff(): number {
    if (this.#row === undefined) return 0
    this.#statements.cutOff.run(encodeText(this.name), this.#row.id)
    return this.#row.keys
  }

  /** A row's entry under a limit. */
  open(key: Key, row: StateRow, limit: Limit, nowMs: number): StateEntry {
    const cells = decodeCells(row.cells)
    const old = row.limits === describeNumbers(limit) ? limit : limitOf(row.limits, limit)
    const changes = this.#changesOf(row.limits, cells, limit, nowMs)
    const carried = migrateState(cells, old, changes)
    return {
      key,
      limit,
      cells: carried ?? freshCells(limit, nowMs),
      refusedUntilMs: changes.length === 0 ? row.refused_until : 0,
      isStored: true,
      isUnseen: carried === undefined,
      hasChanged: false,
    }
  }

  /** Writes what has changed. */
  write(): void {
    const changed = [...this.#entries.values()].filter(entry => entry.hasChanged)
    if (this.#row === undefined && changed.length === 0) return
    const statements = this.#statements
    let row = this.#row
    if (row === undefined) {
      const name = encodeText(this.name)
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
      const wholeAtMs = Math.min(forgettableAt(cells, limit), NEVER_MS)
      const kept = key === OVERFLOW_KEY ? key : encodeText(key)
      statement.run(describeNumbers(limit), encodeCells(cells), wholeAtMs, refusedUntilMs, row.id, kept)
    }
  }

  #read(key: Key, limit: Limit, nowMs: number): StateEntry {
    const kept = key === OVERFLOW_KEY ? key : encodeText(key)
    const row = this.#row && (this.#statements.find.get(this.#row.id, kept) as StateRow | undefined)
    if (row !== undefined) return this.open(key, row, limit, nowMs)
    const cells = freshCells(limit, nowMs)
    return { key, limit, cells, refusedUntilMs: 0, isStored: false, isUnseen: true, hasChanged: false }
  }

  #renumber(held: StateEntry, limit: Limit, nowMs: number): StateEntry {
    if (isNew(held)) return { ...held, limit, cells: freshCells(limit, nowMs) }
    const cells = Float64Array.from(held.cells)
    const changes = this.#changesOf(describeNumbers(held.limit), cells, limit, nowMs)
    const carried = migrateState(cells, held.limit, changes)
    return { ...held, limit, isUnseen: carried === undefined, cells: carried ?? freshCells(limit, nowMs) }
  }

  /** What cells that were written under `text` have yet to be carried through. */
  #changesOf(text: string, cells: Float64Array, limit: Limit, nowMs: number): readonly Change[] {
    const numbers = describeNumbers(limit)
    return changesAfter(
      withChange(this.#history, { text: numbers, sinceMs: nowMs }),
      text,
      cells[0] ?? 0,
    ).map(each => ({
      limit: each.text === numbers ? limit : limitOf(each.text, limit),
      sinceMs: Math.min(each.sinceMs, nowMs),
    }))
  }
}

/** What a rule counted by, as its row says. */
export function historyOf({ limits, since, past }: Pick<RuleRow, 'limits' | 'since' | 'past'>): History {
  const before = JSON.parse(past) as (readonly [string, number])[]
  const periods: Period[] = before.map(([text, sinceMs]) => ({ text, sinceMs }))
  return [...periods, { text: limits, sinceMs: since }]
}

function rowOf(history: History): readonly [text: string, sinceMs: number, past: string] {
  const { text, sinceMs } = history.at(-1) ?? { text: '', sinceMs: 0 }
  return [text, sinceMs, JSON.stringify(history.slice(0, -1).map(each => [each.text, each.sinceMs]))]
}

/** Whether a key is in the file neither now nor when the transaction ends. */
export function isNew(entry: StateEntry): boolean {
  return !entry.isStored && !entry.hasChanged
}
