import { ALGORITHM_NAMES, type Limit, toGrains } from '../../algorithms/limit-types.ts'
import { type Clock, systemClock, toMonotonicClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import type {
  Charge,
  KeyScan,
  StateSelector,
  Store,
  StoreHealth,
  TableFullWarning,
  Verdict,
} from '../store.ts'
import { KeyTable } from './key-table.ts'

/** Approximate duration of a full sweep over all keys while few expire. */
const DEFAULT_SWEEP_MS = 30_000
const SHORTEST_PAUSE_MS = 5
/** A sweep has at least so many slices, with a pause after each. */
const MIN_SLICES = 30
/** Minimum interval between warnings of a rule; every eviction is counted. */
const WARNING_EVERY_MS = 10_000
/** Minimum cost of visiting a table, in slots, so that many tiny tables do not add up to one long pause. */
const MIN_VISIT_SLOTS = 16

const NO_CHARGES: readonly number[] = []

/** Marks a charge whose grains are added to a later charge of the same rule and key. */
const ADDED_TO_LATER = -1

export interface MemoryStoreOptions {
  readonly clock?: Clock | undefined
  /** Maximum number of keys per rule. Default: {@link MAX_SIZES.keysPerRule}. */
  readonly maxKeysPerRule?: number | undefined
  /**
   * Approximate maximum duration of a sweep over all keys, which frees idle ones, in milliseconds of the clock. Default: 30,000.
   */
  readonly sweepMs?: number | undefined
}

const OPTIONS: KnownOptions<MemoryStoreOptions> = { clock: true, maxKeysPerRule: true, sweepMs: true }

/** State in this process: synchronous and bounded; idle keys are removed. The default store. */
export class MemoryStore implements Store {
  readonly name = 'memory'
  readonly answersWithinMs = 0
  readonly algorithms: ReadonlySet<string> = new Set(ALGORITHM_NAMES)
  readonly #clock: Clock
  readonly #maxKeys: number
  readonly #sweepMs: number
  readonly #tables = new Map<string, KeyTable>()
  readonly #listeners = new Set<(warning: TableFullWarning) => void>()
  readonly #warned = new Map<string, { lost: number; atMs: number }>()
  #cancelSweep: (() => void) | undefined
  /** Tables in sweep order, the current one, and the number of slices of a whole round. */
  readonly #turns: KeyTable[] = []
  #turn = 0
  #slices = 1
  #closed = false

  constructor(options: MemoryStoreOptions = {}) {
    checkOptionNames(options, OPTIONS)
    this.#clock = options.clock ?? systemClock
    this.#maxKeys = options.maxKeysPerRule ?? MAX_SIZES.keysPerRule
    this.#sweepMs = options.sweepMs ?? DEFAULT_SWEEP_MS
  }

  /** Returns the keys of a rule, migrated to `limit` if it has changed. `nowMs` defaults to now. */
  table(limit: Limit, nowMs?: number): KeyTable {
    let table = this.#tables.get(limit.name)
    if (table === undefined) {
      table = new KeyTable(limit, this.#maxKeys)
      this.#tables.set(limit.name, table)
      this.#turns.push(table)
      if (this.#cancelSweep === undefined && !this.#closed) this.#scheduleSweep(this.#sweepMs / MIN_SLICES)
    } else if (table.limit !== limit) {
      table.adopt(limit, nowMs ?? this.#clock.now())
    }
    return table
  }

  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): readonly Verdict[] {
    if (this.#closed) throw new StoreError('the memory store is closed: open another')
    const nowMs = options.nowMs ?? this.#clock.now()
    const grains = charges.map(charge => toGrains(charge.cost, charge.limit))
    // New objects for each call, because callers that await them must not see the verdicts of the next call.
    const verdicts: Verdict[] = charges.map(() => ({
      allowed: false,
      remaining: 0,
      retryAfterMs: 0,
      resetMs: 0,
    }))
    const repeats =
      charges.length > 1 && new Set(charges.map(({ limit }) => limit.name)).size < charges.length
    let denied = false
    const slots = charges.map((charge, index) => {
      const table = this.table(charge.limit, nowMs)
      const verdict = verdicts[index]!
      const slot = options.commit ? table.acquire(charge.key, nowMs) : table.find(charge.key)
      const earlier = repeats ? earlierCharges(charges, index, verdicts) : NO_CHARGES
      const sum = earlier.reduce(
        (total, earlierIndex) => total + Math.max(0, grains[earlierIndex]!),
        grains[index]!,
      )
      if (slot < 0) table.probeUnseen(nowMs, sum, verdict)
      else table.records.probe(slot, nowMs, sum, verdict)
      if (verdict.allowed) {
        grains[index] = sum
        for (const earlierIndex of earlier) grains[earlierIndex] = ADDED_TO_LATER
      } else if (charge.soft !== true) denied = true
      return slot
    })
    if (options.commit && !denied) {
      charges.forEach((charge, index) => {
        if (!verdicts[index]!.allowed || grains[index] === ADDED_TO_LATER) return
        this.table(charge.limit, nowMs).records.charge(slots[index]!, nowMs, grains[index]!)
      })
    }
    return verdicts
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    for (const limit of limits) {
      const table = this.#tables.get(limit.name)
      if (table !== undefined && table.limit !== limit) table.adopt(limit, nowMs)
    }
  }

  refund(charges: readonly Charge[]): void {
    const nowMs = this.#clock.now()
    for (const charge of charges) {
      const table = this.table(charge.limit, nowMs)
      const slot = table.find(charge.key)
      if (slot >= 0) table.records.refund(slot, nowMs, toGrains(charge.cost, charge.limit))
    }
  }

  scan(rule: string, from: number, nowMs: number): KeyScan {
    return this.#tables.get(rule)?.scan(from, nowMs) ?? { keys: [], next: undefined }
  }

  /** Returns how many keys were forgotten. */
  forget(selector: StateSelector): number {
    const { rule, key } = selector
    let count = 0
    for (const table of rule === undefined ? this.#tables.values() : [this.#tables.get(rule)]) {
      if (table !== undefined) count += key === undefined ? table.clear() : table.forget(key) ? 1 : 0
    }
    return count
  }

  /** Subscribes to warnings about evictions and shared counters; the returned function unsubscribes. */
  watch(listener: (warning: TableFullWarning) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  health(): StoreHealth {
    let keys = 0
    let evictions = 0
    let overflows = 0
    for (const table of this.#tables.values()) {
      keys += table.size
      evictions += table.evictions
      overflows += table.overflows
    }
    return { ok: !this.#closed, keys, evictions, overflows }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelSweep?.()
    this.#tables.clear()
    this.#turns.length = 0
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #scheduleSweep(pauseMs: number): void {
    this.#cancelSweep = this.#clock.after(pauseMs, () => this.#sweep())
  }

  /** Sweeps one slice: tables in turn. Continues soon if a large table had many expired keys. */
  #sweep(): void {
    const nowMs = this.#clock.now()
    // Read for the gate of this clock: it decides no message at a time before a sweep.
    toMonotonicClock(this.#clock).now()
    let left: number = MAX_SIZES.sweepSlice
    let busy = false
    for (let visits = this.#turns.length; visits > 0; visits--) {
      const table = this.#turns[this.#turn]!
      const slots = Math.min(table.slots, MAX_SIZES.sweepSlice)
      // Always a whole table: the rest of a slice would cover little of a large one.
      if (slots > left) break
      left -= Math.max(slots, MIN_VISIT_SLOTS)
      const swept = table.sweep(nowMs, slots)
      this.#warn(table, nowMs)
      busy = slots === MAX_SIZES.sweepSlice && 4 * swept > slots
      if (busy) break
      this.#turn++
      if (this.#turn === this.#turns.length) this.#beginRound()
    }
    const pauseMs = busy ? SHORTEST_PAUSE_MS : Math.floor(this.#sweepMs / Math.max(MIN_SLICES, this.#slices))
    this.#scheduleSweep(Math.max(SHORTEST_PAUSE_MS, pauseMs))
  }

  #beginRound(): void {
    this.#turn = 0
    const slots = this.#turns.reduce((sum, table) => sum + Math.max(table.slots, MIN_VISIT_SLOTS), 0)
    this.#slices = Math.ceil(slots / MAX_SIZES.sweepSlice)
  }

  #warn(table: KeyTable, nowMs: number): void {
    const lost = table.evictions + table.overflows
    const rule = table.limit.name
    const before = this.#warned.get(rule)
    if (lost === (before?.lost ?? 0) || nowMs - (before?.atMs ?? -Infinity) < WARNING_EVERY_MS) return
    this.#warned.set(rule, { lost, atMs: nowMs })
    const warning: TableFullWarning = {
      kind: 'table_full',
      rule,
      keys: table.size,
      evictions: table.evictions,
      overflows: table.overflows,
    }
    for (const listener of this.#listeners) listener(warning)
  }
}

/** Returns the indexes of earlier passing charges of the same rule and key: their costs add up. */
function earlierCharges(charges: readonly Charge[], index: number, verdicts: readonly Verdict[]): number[] {
  const { limit, key } = charges[index]!
  const earlierIndexes: number[] = []
  for (let earlierIndex = 0; earlierIndex < index; earlierIndex++) {
    const other = charges[earlierIndex]!
    if (other.key === key && other.limit.name === limit.name && verdicts[earlierIndex]!.allowed)
      earlierIndexes.push(earlierIndex)
  }
  return earlierIndexes
}
