import type { Verdict } from '../../algorithms/kernel.ts'
import { countAlike, type Limit, startsBelowFull } from '../../algorithms/limit.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { KeyIndex } from './key-index.ts'
import { KeyList } from './key-list.ts'
import { Records } from './records.ts'

/** Where keys share a counter when a table is full of keys that are all still refusing. */
export const OVERFLOW_SLOT = 0

/** A generation that no slot ever has. */
const NO_GENERATION = -1

/** A table this small is not emptied as a whole. */
const SMALL = 64

/** All keys of one rule: which has which slot, who comes and who must go. */
export class Table {
  limit: Limit
  readonly records: Records
  size = 0
  evictions = 0
  /** Messages that had to share the overflow counter. */
  overflows = 0
  readonly #mostKeys: number
  readonly #keys = new KeyList()
  readonly #index = new KeyIndex(this.#keys)
  /** The first of the free slots; the shared one, which is never free, stands for none. */
  #free = OVERFLOW_SLOT
  #hand = 0
  readonly #look: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }

  constructor(limit: Limit, mostKeys: number) {
    this.limit = limit
    this.#mostKeys = mostKeys
    this.records = new Records(limit)
    this.#openOverflow()
  }

  /** Slots a sweep has to look at. */
  get slots(): number {
    return this.#keys.length
  }

  /** Fewer where a key may be large: a sliding log's is as large as its limit. */
  get maxKeys(): number {
    const { limit } = this
    const entries = limit.kernel.entries?.(limit)
    if (entries === undefined) return this.#mostKeys
    return Math.min(this.#mostKeys, Math.max(1, Math.floor(MAX_SIZES.logEntriesPerRule / entries)))
  }

  /** What to keep beside a slot; the shared counter is never kept. */
  generationOf(slot: number): number {
    return slot === OVERFLOW_SLOT ? NO_GENERATION : this.records.generationOf(slot)
  }

  /** The slot of a key, or -1. */
  find(key: string): number {
    return this.#index.find(key)
  }

  /** The slot of a key, made if need be; a full table gives away the slot of a key that needs it least. */
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

  /** Asks for a key that has no slot. */
  probeUnseen(nowMs: number, grains: number, out: Verdict): boolean {
    const { kernel } = this.limit
    const cells = kernel.room?.(undefined) ?? new Float64Array(kernel.width)
    kernel.begin?.(cells, 0, nowMs, this.limit)
    return kernel.probe(cells, 0, nowMs, grains, this.limit, out)
  }

  /** Forgets a key; true when it was there. */
  forget(key: string): boolean {
    const slot = this.#index.find(key)
    if (slot < 0) return false
    this.#release(slot)
    return true
  }

  /** Forgets all keys; returns how many there were. */
  clear(): number {
    const count = this.size
    this.#empty()
    return count
  }

  /**
   * Looks at some slots and forgets those that are whole again; returns how many. Keys of a limit that starts below
   * full stay until the table is full: whole again is not unseen.
   */
  sweep(nowMs: number, slots: number): number {
    if (startsBelowFull(this.limit)) return 0
    const before = this.size
    for (let left = Math.min(slots, this.slots); left > 0; left--) {
      const slot = this.#turnHand()
      if (this.#keys.get(slot) !== undefined && this.records.wholeAt(slot) <= nowMs) this.#release(slot)
    }
    const swept = before - this.size
    // An empty table gives its memory back.
    if (this.size === 0 && this.slots > SMALL && this.records.wholeAt(OVERFLOW_SLOT) <= nowMs) this.#empty()
    return swept
  }

  /**
   * Counts on by a changed limit of the same rule from a moment on. What was used is counted by the old one up to then, and
   * nothing of it is given back: a change mints at most the difference of the capacities. Takes about 10 ns a key where
   * rates differ, 0.3 µs where algorithms do.
   */
  adopt(limit: Limit, sinceMs: number): void {
    const old = this.limit
    this.limit = limit
    // Whether such a key was swept must make no difference: by the new limit it was not seen.
    if (startsBelowFull(limit) && !startsBelowFull(old)) this.#releaseWhole(sinceMs)
    if (countAlike(old, limit)) {
      this.records.change(limit)
      return
    }
    if (old.kernel === limit.kernel) {
      for (let slot = 0; slot < this.slots; slot++) {
        const isHeld = slot === OVERFLOW_SLOT || this.#keys.get(slot) !== undefined
        if (isHeld) this.records.carry(slot, sinceMs, limit)
      }
      this.records.change(limit)
      return
    }
    const spent: [key: string, units: number][] = []
    for (let slot = 0; slot < this.slots; slot++) {
      const key = this.#keys.get(slot)
      if (key !== undefined && this.records.wholeAt(slot) > sinceMs) {
        spent.push([key, this.records.spent(slot, sinceMs)])
      }
    }
    this.#empty()
    for (const [key, units] of spent) {
      const slot = this.acquire(key, sinceMs)
      if (slot !== OVERFLOW_SLOT) this.records.seed(slot, sinceMs, units)
    }
  }

  /**
   * Frees the slot of an expired key, else of the key nearest to being whole among some; never of one that refuses
   * now or would refuse one unit. False where all of those looked at refuse. It looks in four places: senders that
   * flood come in crowds, whose slots are neighbours.
   */
  #evict(nowMs: number): boolean {
    let best = -1
    let bestWholeAt = Infinity
    const { slots } = this
    const ephemeral = Math.ceil(slots / 4)
    for (let left = MAX_SIZES.evictionProbe / 4; left > 0; left--) {
      this.#turnHand()
      for (let place = 0; place < 4; place++) {
        const slot = (this.#hand + place * ephemeral) % slots
        if (this.#keys.get(slot) === undefined) continue
        const wholeAt = this.records.wholeAt(slot)
        if (wholeAt <= nowMs) {
          this.#release(slot)
          return true
        }
        if (wholeAt >= bestWholeAt || this.records.refuses(slot, nowMs, this.#look)) continue
        best = slot
        bestWholeAt = wholeAt
      }
    }
    if (best < 0) return false
    this.#release(best)
    this.evictions++
    return true
  }

  #releaseWhole(nowMs: number): void {
    for (let slot = 0; slot < this.slots; slot++) {
      if (this.#keys.get(slot) !== undefined && this.records.wholeAt(slot) <= nowMs) this.#release(slot)
    }
  }

  #turnHand(): number {
    this.#hand = this.#hand + 1 < this.slots ? this.#hand + 1 : 0
    return this.#hand
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
    this.#hand = 0
    this.size = 0
    this.records.restart(this.limit)
    this.#openOverflow()
  }

  #openOverflow(): void {
    this.#keys.set(OVERFLOW_SLOT, undefined)
    this.records.open(OVERFLOW_SLOT, 0)
  }
}
