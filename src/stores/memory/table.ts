import type { Verdict } from '../../algorithms/kernel.ts'
import type { Limit } from '../../algorithms/limit.ts'
import { BOUNDS } from '../../bounds.ts'
import { KeyIndex } from './key-index.ts'

/*
 * A record of cells per key: generation, refused-until, then the kernel's own. A record of a token bucket is 32
 * bytes, two to a cache line: a decision touches one line per rule.
 */
const GENERATION = 0
const REFUSED_UNTIL = 1
const OWN = 2

/** Records stand in chunks, so that growing copies nothing; only the first chunk starts small and doubles. */
const CHUNK_BITS = 12
const CHUNK_SLOTS = 1 << CHUNK_BITS
const FIRST_CHUNK_SLOTS = 8

/** Where keys share a counter when a table is full of keys that are all still refusing. */
export const OVERFLOW_SLOT = 0

/** A generation that no slot ever has. */
export const NO_GENERATION = -1

/**
 * All keys of one rule: records in typed arrays, found by slot. Whoever keeps a slot also keeps its generation;
 * a slot given to another key has another generation, so a stale slot is noticed and never misused.
 */
export class Table {
  limit: Limit
  size = 0
  evictions = 0
  /** Messages that had to share the overflow counter. */
  overflows = 0
  readonly maxKeys: number
  #stride: number
  #chunks: Float64Array[] = []
  /** Only of a kernel whose keys own an array each. */
  #logs: (Float64Array | undefined)[] = []
  readonly #keys: (string | undefined)[] = []
  readonly #index = new KeyIndex(this.#keys)
  #freed: number[] = []
  #next = OVERFLOW_SLOT
  #generations = 0
  #hand = 0

  constructor(limit: Limit, maxKeys: number) {
    this.limit = limit
    const logKeys = Math.max(1, Math.floor(BOUNDS.logEntriesPerRule / limit.count))
    this.maxKeys = limit.kernel.width === 0 ? Math.min(maxKeys, logKeys) : maxKeys
    this.#stride = OWN + limit.kernel.width
    this.#open(undefined)
  }

  /** Slots a sweep has to look at. */
  get slots(): number {
    return this.#next
  }

  generationOf(slot: number): number {
    return slot === OVERFLOW_SLOT ? NO_GENERATION : this.#chunks[slot >> CHUNK_BITS]![this.#at(slot)]!
  }

  /** Whether a kept slot still belongs to the key it was kept for. */
  holds(slot: number, generation: number): boolean {
    const chunk = this.#chunks[slot >> CHUNK_BITS]
    return chunk !== undefined && chunk[(slot & (CHUNK_SLOTS - 1)) * this.#stride] === generation
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
    const slot = this.#open(key)
    this.#index.add(key, slot)
    this.size++
    this.limit.kernel.begin?.(this.#cells(slot), this.#own(slot), nowMs, this.limit)
    return slot
  }

  /** Asks without changing what is counted; a refusal is noted, so that the key is not evicted while it lasts. */
  probe(slot: number, nowMs: number, grains: number, out: Verdict): boolean {
    const at = (slot & (CHUNK_SLOTS - 1)) * this.#stride
    const chunk = this.#chunks[slot >> CHUNK_BITS]!
    const { kernel } = this.limit
    const fits =
      kernel.width > 0
        ? kernel.probe(chunk, at + OWN, nowMs, grains, this.limit, out)
        : kernel.probe(this.#logs[slot]!, 0, nowMs, grains, this.limit, out)
    if (!fits && out.retryAfterMs !== Infinity) chunk[at + REFUSED_UNTIL] = nowMs + out.retryAfterMs
    return fits
  }

  /** Asks for a key that has no slot. */
  probeUnseen(nowMs: number, grains: number, out: Verdict): boolean {
    const { kernel } = this.limit
    const cells = kernel.room?.(undefined) ?? new Float64Array(kernel.width)
    kernel.begin?.(cells, 0, nowMs, this.limit)
    return kernel.probe(cells, 0, nowMs, grains, this.limit, out)
  }

  /** Takes what was just probed and fits. */
  take(slot: number, nowMs: number, grains: number): void {
    const { kernel } = this.limit
    if (kernel.width > 0) {
      const at = (slot & (CHUNK_SLOTS - 1)) * this.#stride + OWN
      kernel.take(this.#chunks[slot >> CHUNK_BITS]!, at, nowMs, grains, this.limit)
    } else {
      const log = kernel.room!(this.#logs[slot])
      this.#logs[slot] = log
      kernel.take(log, 0, nowMs, grains, this.limit)
    }
  }

  refund(slot: number, nowMs: number, grains: number): void {
    this.limit.kernel.refund(this.#cells(slot), this.#own(slot), nowMs, grains, this.limit)
    this.#chunks[slot >> CHUNK_BITS]![this.#at(slot) + REFUSED_UNTIL] = 0
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

  /** Looks at some slots and forgets those that are whole again; returns how many. */
  sweep(nowMs: number, slots: number): number {
    const before = this.size
    for (let left = Math.min(slots, this.#next); left > 0; left--) {
      const slot = this.#turnHand()
      if (this.#keys[slot] !== undefined && this.#wholeAt(slot) <= nowMs) this.#release(slot)
    }
    const swept = before - this.size
    if (this.size === 0 && this.#next > FIRST_CHUNK_SLOTS && this.#wholeAt(OVERFLOW_SLOT) <= nowMs)
      this.#empty()
    return swept
  }

  /**
   * Carries all keys over to a changed limit of the same rule. Nothing that was used is given back: a reload
   * mints at most the difference of the capacities. About 0.1 µs a key where cells must be converted.
   */
  adopt(limit: Limit, nowMs: number): void {
    const old = this.limit
    if (keepsCells(old, limit)) {
      this.limit = limit
      return
    }
    const carried: { readonly key: string; readonly units: number }[] = []
    this.#keys.forEach((key, slot) => {
      if (key === undefined || this.#wholeAt(slot) <= nowMs) return
      carried.push({
        key,
        units: old.kernel.spent(this.#cells(slot), this.#own(slot), nowMs, old) / old.scale,
      })
    })
    this.limit = limit
    this.#stride = OWN + limit.kernel.width
    this.#empty()
    for (const { key, units } of carried) {
      const slot = this.acquire(key, nowMs)
      if (slot === OVERFLOW_SLOT) continue
      const cells = this.#cells(slot)
      cells.fill(0, this.#own(slot), this.#own(slot) + limit.kernel.width)
      limit.kernel.seed(cells, this.#own(slot), nowMs, Math.ceil(units * limit.scale), limit)
    }
  }

  #at(slot: number): number {
    return (slot & (CHUNK_SLOTS - 1)) * this.#stride
  }

  #cells(slot: number): Float64Array {
    return this.limit.kernel.width > 0 ? this.#chunks[slot >> CHUNK_BITS]! : this.#logs[slot]!
  }

  #own(slot: number): number {
    return this.limit.kernel.width > 0 ? this.#at(slot) + OWN : 0
  }

  #wholeAt(slot: number): number {
    return this.limit.kernel.wholeAt(this.#cells(slot), this.#own(slot), this.limit)
  }

  #turnHand(): number {
    this.#hand = this.#hand + 1 < this.#next ? this.#hand + 1 : 0
    return this.#hand
  }

  /**
   * Frees the slot of an expired key, else of the key nearest to being whole among some; never of one that refuses
   * now or would refuse one unit. False where all of those looked at refuse.
   */
  #evict(nowMs: number): boolean {
    const look: Verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 }
    let best = -1
    let bestWholeAt = Infinity
    for (let left = BOUNDS.evictionProbe; left > 0; left--) {
      const slot = this.#turnHand()
      if (this.#keys[slot] === undefined) continue
      const wholeAt = this.#wholeAt(slot)
      if (wholeAt <= nowMs) {
        this.#release(slot)
        return true
      }
      if (wholeAt >= bestWholeAt) continue
      if (this.#chunks[slot >> CHUNK_BITS]![this.#at(slot) + REFUSED_UNTIL]! > nowMs) continue
      const { kernel, scale } = this.limit
      if (!kernel.probe(this.#cells(slot), this.#own(slot), nowMs, scale, this.limit, look)) continue
      best = slot
      bestWholeAt = wholeAt
    }
    if (best < 0) return false
    this.#release(best)
    this.evictions++
    return true
  }

  /** A slot with fresh cells and a generation of its own. */
  #open(key: string | undefined): number {
    const slot = this.#freed.pop() ?? this.#next++
    const chunk = this.#chunkFor(slot)
    const at = this.#at(slot)
    chunk.fill(0, at, at + this.#stride)
    chunk[at + GENERATION] = ++this.#generations
    this.#keys[slot] = key
    if (this.limit.kernel.room) this.#logs[slot] = this.limit.kernel.room(undefined)
    return slot
  }

  #chunkFor(slot: number): Float64Array {
    const index = slot >> CHUNK_BITS
    let chunk = this.#chunks[index]
    const at = this.#at(slot)
    if (chunk !== undefined && at < chunk.length) return chunk
    if (index > 0) chunk = new Float64Array(CHUNK_SLOTS * this.#stride)
    else {
      const slots = chunk === undefined ? FIRST_CHUNK_SLOTS : (2 * chunk.length) / this.#stride
      const larger = new Float64Array(slots * this.#stride)
      if (chunk !== undefined) larger.set(chunk)
      chunk = larger
    }
    this.#chunks[index] = chunk
    return chunk
  }

  #release(slot: number): void {
    this.#index.remove(this.#keys[slot]!)
    this.#keys[slot] = undefined
    this.#logs[slot] &&= undefined
    this.#chunks[slot >> CHUNK_BITS]![this.#at(slot) + GENERATION] = 0
    this.#freed.push(slot)
    this.size--
  }

  #empty(): void {
    this.#index.clear()
    this.#keys.length = 0
    this.#logs = []
    this.#chunks = []
    this.#freed = []
    this.#next = OVERFLOW_SLOT
    this.#hand = 0
    this.size = 0
    this.#open(undefined)
  }
}

/** Whether the cells of one limit mean the same under the other. */
function keepsCells(old: Limit, next: Limit): boolean {
  return (
    old.kernel === next.kernel &&
    old.periodMs === next.periodMs &&
    old.scale === next.scale &&
    (old.algorithm !== 'token-bucket' || old.stepsPerGrain === next.stepsPerGrain) &&
    old.calendar?.unit === next.calendar?.unit &&
    old.calendar?.zone === next.calendar?.zone
  )
}
