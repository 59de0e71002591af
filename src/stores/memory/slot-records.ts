import type { Kernel, Limit, Verdict } from '../../algorithms/limit-types.ts'

/*
 * A record of cells per key: generation, refused-until, then the kernel's own. A record of a token bucket is 32
 * bytes, two to a cache line: a decision touches one line per rule.
 */
export const GENERATION_INDEX = 0
const REFUSED_UNTIL = 1
/** Index of the next free record, in a closed record. */
const NEXT_FREE = 1
export const OWN_CELLS_OFFSET = 2

/** Highest generation before they restart, so that they stay small integers. */
const LAST_GENERATION = 2 ** 31 - 1

/** Records are in chunks, so that growing copies nothing; only the first chunk starts small and doubles. */
const CHUNK_BITS = 12
const CHUNK_SLOTS = 1 << CHUNK_BITS
const LAST_SLOT = CHUNK_SLOTS - 1
const FIRST_CHUNK_SLOTS = 8

/**
 * Records of a rule's keys, by slot. A reference to a slot also stores its generation: a reused slot has another
 * generation, so that stale references are detected.
 */
export class SlotRecords {
  /** First chunk; most rules have no other. Why: the list of chunks would cost two more cache lines. */
  #first: Float64Array | undefined
  #stride: number
  /** Number of limit changes; a plan made before the last one is stale. */
  changes = 0
  #chunks: Float64Array[] = []
  #limit: Limit
  #kernel: Kernel
  /** Only for kernels whose keys own an array each. */
  #logs: (Float64Array | undefined)[] = []
  #generations = 0

  constructor(limit: Limit) {
    this.#limit = limit
    this.#kernel = limit.kernel
    this.#stride = OWN_CELLS_OFFSET + limit.kernel.width
  }

  /** Forgets all records and counts by another limit. Slots and generations stored elsewhere stay invalid. */
  restart(limit: Limit): void {
    this.change(limit)
    this.#stride = OWN_CELLS_OFFSET + limit.kernel.width
    this.#chunks = []
    this.#first = undefined
    this.#logs = []
  }

  /** Continues with another limit of the same kernel. */
  change(limit: Limit): void {
    this.changes++
    this.#limit = limit
    this.#kernel = limit.kernel
  }

  /** Opens a new record at a slot, with a new generation. */
  open(slot: number, nowMs: number): void {
    const chunk = this.#chunkFor(slot)
    const at = this.offsetOf(slot)
    chunk.fill(0, at, at + this.#stride)
    this.#generations = this.#generations === LAST_GENERATION ? 1 : this.#generations + 1
    chunk[at + GENERATION_INDEX] = this.#generations
    if (this.#kernel.growCells) this.#logs[slot] = this.#kernel.growCells(undefined)
    this.#kernel.initialize?.(this.#cells(slot), this.#own(slot), nowMs, this.#limit)
  }

  /** Closes a record. Free records form a list inside the records: `nextFree` is the next one. */
  close(slot: number, nextFree: number): void {
    const chunk = this.#chunk(slot)
    const at = this.offsetOf(slot)
    chunk[at + GENERATION_INDEX] = 0
    chunk[at + NEXT_FREE] = nextFree
    if (this.#logs[slot] !== undefined) this.#logs[slot] = undefined
  }

  /** Returns the next free slot of a closed record. */
  nextFreeOf(slot: number): number {
    return this.#chunk(slot)[this.offsetOf(slot) + NEXT_FREE]!
  }

  /** Returns a small integer. Why: V8 would keep the raw value as a separate object beside the sender state. */
  generationOf(slot: number): number {
    return this.#chunk(slot)[this.offsetOf(slot) + GENERATION_INDEX]! | 0
  }

  /** Returns true if a referenced slot still belongs to its key. */
  isOf(slot: number, generation: number): boolean {
    return this.chunkOf(slot)?.[this.offsetOf(slot)] === generation
  }

  /** Returns the chunk of a slot's record, or undefined. It stays valid until a key is added. */
  chunkOf(slot: number): Float64Array | undefined {
    return slot < CHUNK_SLOTS ? this.#first : this.#chunks[slot >> CHUNK_BITS]
  }

  /**
   * Returns the index of the record's first cell (the generation) in its chunk; the kernel's cells begin at
   * {@link OWN_CELLS_OFFSET}.
   */
  offsetOf(slot: number): number {
    return (slot & LAST_SLOT) * this.#stride
  }

  /** Probes a cost without charging it; returns the wait, 0 if it fits. */
  probe(slot: number, nowMs: number, grains: number, out: Verdict): number {
    const kernel = this.#kernel
    const limit = this.#limit
    const chunk = this.#chunk(slot)
    const at = this.offsetOf(slot)
    if (kernel.width > 0) kernel.probe(chunk, at + OWN_CELLS_OFFSET, nowMs, grains, limit, out)
    else kernel.probe(this.#logs[slot]!, 0, nowMs, grains, limit, out)
    // Stores the refusal of a cost above one unit, so that the key is not evicted during its wait. A smaller one
    // needs no write: `refuses` finds that a unit does not fit.
    if (grains > limit.scale && !out.allowed && out.retryAfterMs !== Infinity) {
      chunk[at + REFUSED_UNTIL] = nowMs + out.retryAfterMs
    }
    return out.retryAfterMs
  }

  /** Keeps a key from being evicted until a refused cost above one unit may pass. */
  holdRefusal(slot: number, untilMs: number): void {
    this.#chunk(slot)[this.offsetOf(slot) + REFUSED_UNTIL] = untilMs
  }

  /** Charges a cost that was just probed and fits. */
  charge(slot: number, nowMs: number, grains: number): void {
    const kernel = this.#kernel
    if (kernel.width > 0) {
      kernel.charge(this.#chunk(slot), this.offsetOf(slot) + OWN_CELLS_OFFSET, nowMs, grains, this.#limit)
    } else {
      const log = kernel.growCells!(this.#logs[slot])
      this.#logs[slot] = log
      kernel.charge(log, 0, nowMs, grains, this.#limit)
    }
  }

  refund(slot: number, nowMs: number, grains: number): void {
    this.#kernel.refund(this.#cells(slot), this.#own(slot), nowMs, grains, this.#limit)
    this.#chunk(slot)[this.offsetOf(slot) + REFUSED_UNTIL] = 0
  }

  /**
   * Returns true if a key refuses now, either its last refused cost or a single unit. Such a key must not be
   * forgotten.
   */
  refuses(slot: number, nowMs: number, out: Verdict): boolean {
    if (this.#chunk(slot)[this.offsetOf(slot) + REFUSED_UNTIL]! > nowMs) return true
    const unit = this.#limit.scale
    return !this.#kernel.probe(this.#cells(slot), this.#own(slot), nowMs, unit, this.#limit, out)
  }

  /** Returns the time from which the record equals an unseen key. */
  fullAtMs(slot: number): number {
    return this.#kernel.fullAtMs(this.#cells(slot), this.#own(slot), this.#limit)
  }

  /** Returns the units used at a time. */
  usedUnits(slot: number, nowMs: number): number {
    return this.#kernel.usedGrains(this.#cells(slot), this.#own(slot), nowMs, this.#limit) / this.#limit.scale
  }

  /** Migrates a record from the active limit to another one of the same kernel. */
  migrate(slot: number, sinceMs: number, next: Limit): void {
    this.#kernel.migrate(this.#cells(slot), this.#own(slot), sinceMs, this.#limit, next)
    this.#chunk(slot)[this.offsetOf(slot) + REFUSED_UNTIL] = 0
  }

  /** Sets the used units of an open record. */
  setUsed(slot: number, nowMs: number, units: number): void {
    const cells = this.#cells(slot)
    const own = this.#own(slot)
    cells.fill(0, own, own + this.#kernel.width)
    this.#kernel.setUsed(cells, own, nowMs, Math.ceil(units * this.#limit.scale), this.#limit)
  }

  #chunk(slot: number): Float64Array {
    return this.chunkOf(slot)!
  }

  #cells(slot: number): Float64Array {
    return this.#kernel.width > 0 ? this.#chunk(slot) : this.#logs[slot]!
  }

  #own(slot: number): number {
    return this.#kernel.width > 0 ? this.offsetOf(slot) + OWN_CELLS_OFFSET : 0
  }

  #chunkFor(slot: number): Float64Array {
    const index = slot >> CHUNK_BITS
    const held = this.#chunks[index]
    if (held !== undefined && this.offsetOf(slot) < held.length) return held
    const doubled = held === undefined ? FIRST_CHUNK_SLOTS : (2 * held.length) / this.#stride
    const chunk = new Float64Array((index > 0 ? CHUNK_SLOTS : doubled) * this.#stride)
    if (held !== undefined) chunk.set(held)
    this.#chunks[index] = chunk
    if (index === 0) this.#first = chunk
    return chunk
  }
}
