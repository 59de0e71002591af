import { MAX_SIZES } from '../../core/max-sizes.ts'

/** Candidate rates in messages per second: six a decade, from one a day to 100,000 a second. */
export const CANDIDATE_RATES: readonly number[] = Array.from({ length: 10 }, (_, decade) =>
  [1, 1.5, 2, 3, 5, 7].map(step => Number(`${step}e${decade - 5}`)),
).flat()

const PER_MS = Float64Array.from(CANDIDATE_RATES, rate => rate / 1_000)
const RATES = CANDIDATE_RATES.length

/** A sender or other key of a group, and what it needed. */
export interface KeyNeeds {
  readonly key: string
  readonly messages: number
  /** For each candidate rate the least burst with which a token bucket refuses none of its messages. */
  readonly needs: Float64Array
}

/**
 * Computes in one pass the burst that each key needs at each candidate rate: the highest level of a leaky bucket, where each
 * message adds 1 and the rate drains it. Above `maxKeys`, half of the keys are dropped by hash, so that the others keep their
 * whole history.
 */
export class BurstNeeds {
  readonly #maxKeys: number
  #slots = new Map<string, number>()
  #levels = new Float64Array(0)
  #needs = new Float64Array(0)
  #messages = new Float64Array(0)
  #lastMs = new Float64Array(0)
  /** Number of candidates, from the first, whose level is not 1. */
  #raised = new Uint8Array(0)
  /** Keys whose hash has one of these bits are left out. */
  #leftOutBits = 0

  constructor(maxKeys: number = MAX_SIZES.suggestedKeys) {
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#slots.size
  }

  /** Share of the keys that are measured. */
  get share(): number {
    return 1 / (this.#leftOutBits + 1)
  }

  /** Adds a message. Times that go back count as the latest time before. */
  record(key: string, atMs: number): void {
    let slot = this.#slots.get(key)
    if (slot === undefined) {
      if (this.#leftOutBits !== 0 && (hash(key) & this.#leftOutBits) !== 0) return
      if (this.#slots.size >= this.#maxKeys) {
        this.#leaveOutHalf()
        this.record(key, atMs)
        return
      }
      slot = this.#open(key, atMs)
    }
    const passedMs = Math.max(0, atMs - this.#lastMs[slot]!)
    this.#lastMs[slot] = Math.max(atMs, this.#lastMs[slot]!)
    this.#messages[slot]!++
    const levels = this.#levels
    const needs = this.#needs
    const raised = this.#raised[slot]!
    // Only messages before have levels; the first one of a key finds 0.
    const initial = this.#messages[slot] === 1 ? 0 : 1
    const base = slot * RATES
    let index = 0
    // Levels fall with the rate: once one is 0, all further ones are.
    for (; index < RATES; index++) {
      const left = (index < raised ? levels[base + index]! : initial) - PER_MS[index]! * passedMs
      if (left <= 0) break
      levels[base + index] = left + 1
      if (left + 1 > needs[base + index]!) needs[base + index] = left + 1
    }
    this.#raised[slot] = index
  }

  /** Yields all keys. `needs` is a view, valid until the next `record`. */
  *list(): Generator<KeyNeeds> {
    for (const [key, slot] of this.#slots) {
      const needs = this.#needs.subarray(slot * RATES, (slot + 1) * RATES)
      yield { key, messages: this.#messages[slot]!, needs }
    }
  }

  #open(key: string, atMs: number): number {
    const slot = this.#slots.size
    if (slot === this.#messages.length) this.#resize(Math.min(this.#maxKeys, Math.max(64, slot * 2)))
    this.#slots.set(key, slot)
    this.#lastMs[slot] = atMs
    this.#needs.fill(1, slot * RATES, (slot + 1) * RATES)
    return slot
  }

  #resize(keys: number): void {
    this.#levels = copyOf(this.#levels, keys * RATES)
    this.#needs = copyOf(this.#needs, keys * RATES)
    this.#messages = copyOf(this.#messages, keys)
    this.#lastMs = copyOf(this.#lastMs, keys)
    const raised = new Uint8Array(keys)
    raised.set(this.#raised.subarray(0, keys))
    this.#raised = raised
  }

  #leaveOutHalf(): void {
    this.#leftOutBits = this.#leftOutBits * 2 + 1
    const kept = new Map<string, number>()
    for (const [key, slot] of this.#slots) {
      if ((hash(key) & this.#leftOutBits) !== 0) continue
      const newSlot = kept.size
      kept.set(key, newSlot)
      this.#levels.copyWithin(newSlot * RATES, slot * RATES, (slot + 1) * RATES)
      this.#needs.copyWithin(newSlot * RATES, slot * RATES, (slot + 1) * RATES)
      this.#messages[newSlot] = this.#messages[slot]!
      this.#lastMs[newSlot] = this.#lastMs[slot]!
      this.#raised[newSlot] = this.#raised[slot]!
    }
    this.#messages.fill(0, kept.size)
    this.#slots = kept
  }
}

function copyOf(values: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(length)
  copy.set(values.subarray(0, length))
  return copy
}

/** FNV-1a, with a last mix so that the lowest bits depend on all characters. */
function hash(text: string): number {
  let mixed = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    mixed = Math.imul(mixed ^ text.charCodeAt(index), 0x01000193)
  }
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  return (mixed ^ (mixed >>> 13)) >>> 0
}
