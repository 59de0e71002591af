import { hashKeyForTable } from './key-hash.ts'
import type { SlotKeys } from './slot-keys.ts'

const SMALLEST = 8
/** A shard splits before it exceeds this, so that no growth rehashes more entries at once. */
const MAX_SHARD_ENTRIES = 4_096
const SHARD_BITS = 8

/** Open-addressing table of (hash, slot + 1) pairs with linear probing; removal shifts entries back. */
class Shard {
  entries = new Int32Array(2 * SMALLEST)
  mask = SMALLEST - 1
  size = 0
}

/**
 * Index from key to slot over typed arrays: 8 bytes per entry at 37 to 75 % load, against about 37 for a Map. The
 * keys are in the table's own list, by slot. A large index is split into 256 shards. Why: growing must not block the
 * event loop; a shard of a million-key index rehashes some 4,000 entries.
 */
export class KeySlotIndex {
  #single: Shard | undefined = new Shard()
  #shards: Shard[] = []
  readonly #keys: SlotKeys

  constructor(keys: SlotKeys) {
    this.#keys = keys
  }

  /** Returns the slot of a key, or -1. */
  find(key: string): number {
    const hash = hashKeyForTable(key)
    const shard = this.#shardOf(hash)
    const { entries, mask } = shard
    let bucketIndex = hash & mask
    while (true) {
      const slot = entries[2 * bucketIndex + 1]! - 1
      if (slot < 0) return -1
      if (entries[2 * bucketIndex] === hash && this.#keys.get(slot) === key) return slot
      bucketIndex = (bucketIndex + 1) & mask
    }
  }

  /** Adds a key that is not in the index. */
  add(key: string, slot: number): void {
    const hash = hashKeyForTable(key)
    let shard = this.#shardOf(hash)
    if (4 * (shard.size + 1) > 3 * (shard.mask + 1)) {
      if (shard === this.#single && shard.size >= MAX_SHARD_ENTRIES) this.#split(shard)
      else resize(shard, 2 * (shard.mask + 1))
      shard = this.#shardOf(hash)
    }
    insert(shard, hash, slot)
  }

  /** Removes a key that is in the index. */
  remove(key: string): void {
    const hash = hashKeyForTable(key)
    const shard = this.#shardOf(hash)
    const { entries, mask } = shard
    let hole = hash & mask
    while (entries[2 * hole] !== hash || this.#keys.get(entries[2 * hole + 1]! - 1) !== key)
      hole = (hole + 1) & mask
    let next = (hole + 1) & mask
    while (entries[2 * next + 1] !== 0) {
      const home = entries[2 * next]! & mask
      // An entry may move back to the hole unless its home is after the hole.
      if (((next - home) & mask) >= ((next - hole) & mask)) {
        entries[2 * hole] = entries[2 * next]!
        entries[2 * hole + 1] = entries[2 * next + 1]!
        hole = next
      }
      next = (next + 1) & mask
    }
    entries[2 * hole + 1] = 0
    shard.size--
    if (8 * shard.size < mask && mask + 1 > SMALLEST) resize(shard, (mask + 1) / 2)
  }

  clear(): void {
    this.#single = new Shard()
    this.#shards = []
  }

  #shardOf(hash: number): Shard {
    return this.#single ?? this.#shards[hash >>> (32 - SHARD_BITS)]!
  }

  #split(full: Shard): void {
    this.#single = undefined
    this.#shards = Array.from({ length: 1 << SHARD_BITS }, () => new Shard())
    for (let bucketIndex = 0; bucketIndex <= full.mask; bucketIndex++) {
      const slot = full.entries[2 * bucketIndex + 1]! - 1
      if (slot < 0) continue
      const hash = full.entries[2 * bucketIndex]!
      const shard = this.#shardOf(hash)
      if (4 * (shard.size + 1) > 3 * (shard.mask + 1)) resize(shard, 2 * (shard.mask + 1))
      insert(shard, hash, slot)
    }
  }
}

function insert(shard: Shard, hash: number, slot: number): void {
  const { entries, mask } = shard
  let bucketIndex = hash & mask
  while (entries[2 * bucketIndex + 1] !== 0) bucketIndex = (bucketIndex + 1) & mask
  entries[2 * bucketIndex] = hash
  entries[2 * bucketIndex + 1] = slot + 1
  shard.size++
}

function resize(shard: Shard, buckets: number): void {
  const old = shard.entries
  shard.entries = new Int32Array(2 * buckets)
  shard.mask = buckets - 1
  shard.size = 0
  for (let bucketIndex = 0; bucketIndex < old.length; bucketIndex += 2) {
    if (old[bucketIndex + 1] !== 0) insert(shard, old[bucketIndex]!, old[bucketIndex + 1]! - 1)
  }
}
