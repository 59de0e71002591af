import type { Verdict } from '../../algorithms/limit-types.ts'
import { haveSameStateFormat, type Limit, startsBelowFull } from '../../algorithms/limit-types.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { KeyScan, ScannedKey } from '../store.ts'
import { KeySlotIndex } from './key-slot-index.ts'
import { SlotKeys } from './slot-keys.ts'
import { SlotRecords } from './slot-records.ts'

/** Slot of the shared counter, used by new keys when a table is full of keys that all refuse. */
export const OVERFLOW_SLOT = 0

/** Generation that no slot ever has. */
const NO_GENERATION = -1

/** Tables up to this size are not cleared as a whole. */
const SMALL_TABLE_SLOTS = 64

/** Keys of one rule with their slots; handles new keys and evictions. */
export class KeyTable {
  limit: Limit
  readonly records: SlotRecords
  size = 0
  evictions = 0
  /** Messages that used the shared overflow counter. */
  overflows = 0
  readonly #maxKeysPerRule: number
  readonly #keys = new SlotKeys()
  readonly #index = new KeySlotIndex(this.#keys)
  /** First free slot; {@link OVERFLOW_SLOT}, which is never free, means none. */
  #free = OVERFLOW_SLOT
  #sweepSlot = 0
  readonly #scratchVerdict: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }

  constructor(limit: Limit, maxKeysPerRule: number) {
    this.limit = limit
    this.#maxKeysPerRule = maxKeysPerRule
    this.records = new SlotRecords(limit)
    this.#openOverflow()
  }

  /** Number of slots that a sweep has to check. */
  get slots(): number {
    return this.#keys.length
  }

  /** Maximum number of keys; lower if a key may be large, as a sliding log is as large as its limit. */
  get maxKeys(): number {
    const { limit } = this
    const entries = limit.kernel.entries?.(limit)
    if (entries === undefined) return this.#maxKeysPerRule
    return Math.min(this.#maxKeysPerRule, Math.max(1, Math.floor(MAX_SIZES.logEntriesPerRule / entries)))
  }

  /** Returns the generation to store with a slot; the shared counter has none. */
  generationOf(slot: number): number {
    return slot === OVERFLOW_SLOT ? NO_GENERATION : this.records.generationOf(slot)
  }

  /** Returns the slot of a key, or -1. */
  find(key: string): number {
    return this.#index.find(key)
  }

  /** Returns the slot of a key, created if needed; a full table evicts another key. */
  acquire(key: string, nowMs: number): number {
    const found = this.#index.find(key)
    if (found >= 0) return found
    if (this.size >= this.maxKeys && !this.#evict(nowMs)) {
      this.overflows++
      return OVERFLOW_SLOT
    }
    let slot = this.#free
    if (slot === OVERFLOW_SLOT) slot = this.#keys.length
    else this.#free = this.records.nextFreeOf(slot)
    this.#keys.set(slot, key)
    this.#index.add(key, slot)
    this.records.open(slot, nowMs)
    this.size++
    return slot
  }

  /** Probes a cost for a key without a slot. */
  probeUnseen(nowMs: number, grains: number, out: Verdict): boolean {
    const { kernel } = this.limit
    const cells = kernel.growCells?.(undefined) ?? new Float64Array(kernel.width)
    kernel.initialize?.(cells, 0, nowMs, this.limit)
    return kernel.probe(cells, 0, nowMs, grains, this.limit, out)
  }

  /** Reads the counters in some slots. */
  scan(from: number, nowMs: number): KeyScan {
    const keys: ScannedKey[] = []
    const end = Math.min(this.slots, from + MAX_SIZES.scannedKeys)
    for (let slot = Math.max(from, OVERFLOW_SLOT + 1); slot < end; slot++) {
      const key = this.#keys.get(slot)
      if (key === undefined) continue
      this.records.probe(slot, nowMs, 0, this.#scratchVerdict)
      keys.push({ key, remaining: this.#scratchVerdict.remaining, resetMs: this.#scratchVerdict.resetMs })
    }
    return { keys, next: end < this.slots ? end : undefined }
  }

  /** Forgets a key; returns true if it existed. */
  forget(key: string): boolean {
    const slot = this.#index.find(key)
    if (slot < 0) return false
    this.#release(slot)
    return true
  }

  /** Forgets all keys; returns how many. */
  clear(): number {
    const count = this.size
    this.#empty()
    return count
  }

  /**
   * Sweeps some slots and forgets their keys that are full again; returns how many. Keys of a limit that starts below
   * full stay until the table is full, because for them full is not unseen.
   */
  sweep(nowMs: number, slots: number): number {
    if (startsBelowFull(this.limit)) return 0
    const before = this.size
    for (let left = Math.min(slots, this.slots); left > 0; left--) {
      const slot = this.#advanceSweepSlot()
      if (this.#keys.get(slot) !== undefined && this.records.fullAtMs(slot) <= nowMs) this.#release(slot)
    }
    const swept = before - this.size
    // An empty table releases its memory.
    if (this.size === 0 && this.slots > SMALL_TABLE_SLOTS && this.records.fullAtMs(OVERFLOW_SLOT) <= nowMs)
      this.#empty()
    return swept
  }

  /**
   * Changes to another limit of the same rule from a time on. Used units stay used, counted by the old limit up to that
   * time. So a change adds at most the difference of the capacities. Takes about 10 ns per key if only rates differ,
   * 0.3 µs if algorithms do.
   */
  adopt(limit: Limit, sinceMs: number): void {
    const old = this.limit
    this.limit = limit
    // The result must not depend on the sweep: such a key is unseen by the new limit.
    if (startsBelowFull(limit) && !startsBelowFull(old)) this.#releaseFull(sinceMs)
    if (haveSameStateFormat(old, limit)) {
      this.records.change(limit)
      return
    }
    if (old.kernel === limit.kernel) {
      for (let slot = 0; slot < this.slots; slot++) {
        const isHeld = slot === OVERFLOW_SLOT || this.#keys.get(slot) !== undefined
        if (isHeld) this.records.migrate(slot, sinceMs, limit)
      }
      this.records.change(limit)
      return
    }
    const used: [key: string, units: number][] = []
    for (let slot = 0; slot < this.slots; slot++) {
      const key = this.#keys.get(slot)
      if (key !== undefined && this.records.fullAtMs(slot) > sinceMs) {
        used.push([key, this.records.usedUnits(slot, sinceMs)])
      }
    }
    this.#empty()
    for (const [key, units] of used) {
      const slot = this.acquire(key, sinceMs)
      if (slot !== OVERFLOW_SLOT) this.records.setUsed(slot, sinceMs, units)
    }
  }

  /**
   * Evicts an expired key, else the key nearest to full among a sample; never one that refuses now or would refuse
   * one unit. Returns false if the whole sample refuses. Samples slots in four parts of the table. Why: flooding senders
   * arrive together, so their slots are neighbours.
   */
  #evict(nowMs: number): boolean {
    let best = -1
    let bestFullAtMs = Infinity
    const { slots } = this
    const stride = Math.ceil(slots / 4)
    for (let left = MAX_SIZES.evictionProbe / 4; left > 0; left--) {
      this.#advanceSweepSlot()
      for (let sample = 0; sample < 4; sample++) {
        const slot = (this.#sweepSlot + sample * stride) % slots
        if (this.#keys.get(slot) === undefined) continue
        const fullAtMs = this.records.fullAtMs(slot)
        if (fullAtMs <= nowMs) {
          this.#release(slot)
          return true
        }
        if (fullAtMs >= bestFullAtMs || this.records.refuses(slot, nowMs, this.#scratchVerdict)) continue
        best = slot
        bestFullAtMs = fullAtMs
      }
    }
    if (best < 0) return false
    this.#release(best)
    this.evictions++
    return true
  }

  #releaseFull(nowMs: number): void {
    for (let slot = 0; slot < this.slots; slot++) {
      if (this.#keys.get(slot) !== undefined && this.records.fullAtMs(slot) <= nowMs) this.#release(slot)
    }
  }

  #advanceSweepSlot(): number {
    this.#sweepSlot = this.#sweepSlot + 1 < this.slots ? this.#sweepSlot + 1 : 0
    return this.#sweepSlot
  }

  #release(slot: number): void {
    this.#index.remove(this.#keys.get(slot)!)
    this.#keys.set(slot, undefined)
    this.records.close(slot, this.#free)
    this.#free = slot
    this.size--
  }

  #empty(): void {
    this.#index.clear()
    this.#keys.clear()
    this.#free = OVERFLOW_SLOT
    this.#sweepSlot = 0
    this.size = 0
    this.records.restart(this.limit)
    this.#openOverflow()
  }

  #openOverflow(): void {
    this.#keys.set(OVERFLOW_SLOT, undefined)
    this.records.open(OVERFLOW_SLOT, 0)
  }
}
