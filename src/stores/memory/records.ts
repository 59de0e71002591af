import type { Kernel, Verdict } from '../../algorithms/kernel.ts'
import type { Limit } from '../../algorithms/limit.ts'

/*
 * A record of cells per key: generation, refused-until, then the kernel's own. A record of a token bucket is 32
 * bytes, two to a cache line: a decision touches one line per rule.
 */
export const GENERATION = 0
const REFUSED_UNTIL = 1
/** Of a record that is closed. */
const NEXT_FREE = 1
export const OWN = 2

/** The last before they begin anew, as small integers. */
const LAST_GENERATION = 2 ** 31 - 1

/** Records stand in chunks, so that growing copies nothing; only the first chunk starts small and doubles. */
const CHUNK_BITS = 12
const CHUNK_SLOTS = 1 << CHUNK_BITS
const LAST_SLOT = CHUNK_SLOTS - 1
const FIRST_CHUNK_SLOTS = 8

/**
 * The records of a rule's keys, by slot. Whoever keeps a slot also keeps its generation: a slot given to another
 * key has another generation, so a stale one is noticed and never misused.
 */
export class Records {
  /** The first chunk, which is all there is of most rules: the list of them would be two cache lines more. */
  #first: Float64Array | undefined
  #stride: number
  /** How often the limit has changed: other numbers may be in force than a plan was made with. */
  changes = 0
  #chunks: Float64Array[] = []
  #limit: Limit
  #kernel: Kernel
  /** Only of a kernel whose keys own an array each. */
  #logs: (Float64Array | undefined)[] = []
  #generations = 0

  constructor(limit: Limit) {
    this.#limit = limit
    this.#kernel = limit.kernel
    this.#stride = OWN + limit.kernel.width
  }

  /** Forgets all records and counts by another limit; slots kept elsewhere stay void. */
  restart(limit: Limit): void {
    this.change(limit)
    this.#stride = OWN + limit.kernel.width
    this.#chunks = []
    this.#first = undefined
    this.#logs = []
  }

  /** Counts on by another limit of the same kernel. */
  change(limit: Limit): void {
    this.changes++
    this.#limit = limit
    this.#kernel = limit.kernel
  }

  /** A fresh record at a slot, with a generation of its own. */
  open(slot: number, nowMs: number): void {
    const chunk = this.#chunkFor(slot)
    const at = this.placeOf(slot)
    chunk.fill(0, at, at + this.#stride)
    this.#generations = this.#generations === LAST_GENERATION ? 1 : this.#generations + 1
    chunk[at + GENERATION] = this.#generations
    if (this.#kernel.room) this.#logs[slot] = this.#kernel.room(undefined)
    this.#kernel.begin?.(this.#cells(slot), this.#own(slot), nowMs, this.#limit)
  }

  /** Ends a record. Free ones are a list that stands in the records themselves: `nextFree` is the one after it. */
  close(slot: number, nextFree: number): void {
    const chunk = this.#chunk(slot)
    const at = this.placeOf(slot)
    chunk[at + GENERATION] = 0
    chunk[at + NEXT_FREE] = nextFree
    if (this.#logs[slot] !== undefined) this.#logs[slot] = undefined
  }

  /** What a closed record was given. */
  nextFreeOf(slot: number): number {
    return this.#chunk(slot)[this.placeOf(slot) + NEXT_FREE]!
  }

  /** A small integer: read as it stands, V8 keeps it beside the seat, as an object of its own. */
  generationOf(slot: number): number {
    return this.#chunk(slot)[this.placeOf(slot) + GENERATION]! | 0
  }

  /** Whether a kept slot is still that of its key. */
  isOf(slot: number, generation: number): boolean {
    return this.chunkOf(slot)?.[this.placeOf(slot)] === generation
  }

  /** Where the record of a slot stands; undefined where there is none. It stands there until a key is added. */
  chunkOf(slot: number): Float64Array | undefined {
    return slot < CHUNK_SLOTS ? this.#first : this.#chunks[slot >> CHUNK_BITS]
  }

  /** The first cell of a slot's record in its chunk: its generation; the kernel's own begin at {@link OWN}. */
  placeOf(slot: number): number {
    return (slot & LAST_SLOT) * this.#stride
  }

  /** Asks without changing what is counted; returns how long the cost must wait, 0 where it fits. */
  probe(slot: number, nowMs: number, grains: number, out: Verdict): number {
    const kernel = this.#kernel
    const limit = this.#limit
    const chunk = this.#chunk(slot)
    const at = this.placeOf(slot)
    if (kernel.width > 0) kernel.probe(chunk, at + OWN, nowMs, grains, limit, out)
    else kernel.probe(this.#logs[slot]!, 0, nowMs, grains, limit, out)
    // The refusal of a large cost is noted, so that the key is not evicted while it lasts. That of a unit or less
    // need not be: `refuses` finds that a unit does not fit, and the record stays unwritten.
    if (grains > limit.scale && !out.allowed && out.retryAfterMs !== Infinity) {
      chunk[at + REFUSED_UNTIL] = nowMs + out.retryAfterMs
    }
    return out.retryAfterMs
  }

  /** Takes what was just probed and fits. */
  take(slot: number, nowMs: number, grains: number): void {
    const kernel = this.#kernel
    if (kernel.width > 0) {
      kernel.take(this.#chunk(slot), this.placeOf(slot) + OWN, nowMs, grains, this.#limit)
    } else {
      const log = kernel.room!(this.#logs[slot])
      this.#logs[slot] = log
      kernel.take(log, 0, nowMs, grains, this.#limit)
    }
  }

  refund(slot: number, nowMs: number, grains: number): void {
    this.#kernel.refund(this.#cells(slot), this.#own(slot), nowMs, grains, this.#limit)
    this.#chunk(slot)[this.placeOf(slot) + REFUSED_UNTIL] = 0
  }

  /** Whether a key refuses now, what it refused last or a single unit: then it must not be forgotten. */
  refuses(slot: number, nowMs: number, out: Verdict): boolean {
    if (this.#chunk(slot)[this.placeOf(slot) + REFUSED_UNTIL]! > nowMs) return true
    const unit = this.#limit.scale
    return !this.#kernel.probe(this.#cells(slot), this.#own(slot), nowMs, unit, this.#limit, out)
  }

  /** The time from which the record equals a key never seen. */
  wholeAt(slot: number): number {
    return this.#kernel.wholeAt(this.#cells(slot), this.#own(slot), this.#limit)
  }

  /** Units used up at a moment. */
  spent(slot: number, nowMs: number): number {
    return this.#kernel.spent(this.#cells(slot), this.#own(slot), nowMs, this.#limit) / this.#limit.scale
  }

  /** Carries a record over to a limit of the same kernel, from the one in force. */
  carry(slot: number, sinceMs: number, next: Limit): void {
    this.#kernel.carry(this.#cells(slot), this.#own(slot), sinceMs, this.#limit, next)
    this.#chunk(slot)[this.placeOf(slot) + REFUSED_UNTIL] = 0
  }

  /** Sets an open record to so many units used. */
  seed(slot: number, nowMs: number, units: number): void {
    const cells = this.#cells(slot)
    const own = this.#own(slot)
    cells.fill(0, own, own + this.#kernel.width)
    this.#kernel.seed(cells, own, nowMs, Math.ceil(units * this.#limit.scale), this.#limit)
  }

  #chunk(slot: number): Float64Array {
    return this.chunkOf(slot)!
  }

  #cells(slot: number): Float64Array {
    return this.#kernel.width > 0 ? this.#chunk(slot) : this.#logs[slot]!
  }

  #own(slot: number): number {
    return this.#kernel.width > 0 ? this.placeOf(slot) + OWN : 0
  }

  #chunkFor(slot: number): Float64Array {
    const index = slot >> CHUNK_BITS
    const held = this.#chunks[index]
    if (held !== undefined && this.placeOf(slot) < held.length) return held
    const doubled = held === undefined ? FIRST_CHUNK_SLOTS : (2 * held.length) / this.#stride
    const chunk = new Float64Array((index > 0 ? CHUNK_SLOTS : doubled) * this.#stride)
    if (held !== undefined) chunk.set(held)
    this.#chunks[index] = chunk
    if (index === 0) this.#first = chunk
    return chunk
  }
}
